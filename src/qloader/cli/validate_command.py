"""`qloader validate`: whether the config, each source and the index can be used."""

from __future__ import annotations

import typer

from qloader.cli import common


def validate(
    context: typer.Context,
    output_format: common.FormatOption = common.OutputFormat.text,
    config: common.ConfigOption = None,
) -> int:
    """Check the config, and that each source and the index can be reached. Changes nothing."""
    from qloader.workspace.validating import validate_workspace

    workspace = common.open_workspace(context, config)
    checks = validate_workspace(workspace.settings)
    if output_format is common.OutputFormat.json:
        common.print_json(
            {
                "valid": all(check.ok for check in checks),
                "checks": [
                    {"what": check.what, "ok": check.ok, "message": check.message, "remedy": check.remedy}
                    for check in checks
                ],
            }
        )
    else:
        from qloader.render.tables import render_checks

        render_checks(checks, common.people())
    return 0 if all(check.ok for check in checks) else 1
