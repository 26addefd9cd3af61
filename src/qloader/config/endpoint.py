"""What a section says of an endpoint over HTTP that is given texts: where it is, its key, how it is spoken to."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from qloader.config.fields import Secret, Section, Text, none_is_empty, split_http
from qloader.config.units import Duration

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _check_api(value: str) -> str:
    parts = split_http(value)
    if parts is None:
        raise ValueError("expected the address of an API, such as https://api.openai.com/v1")
    if parts.username or parts.password or parts.fragment:
        raise ValueError("expected an address without a user, password or fragment in it; a key belongs in api_key")
    return value


Address = Annotated[str, AfterValidator(_check_api)]


class Endpoint(Section):
    """What all endpoints have in common."""

    url: Address = Field(description="The API's address.")
    api_key: Secret = Field(default=None, description="The key; write `${API_KEY}`, not the key itself.")
    headers: Annotated[dict[Text, SecretStr], BeforeValidator(none_is_empty)] = Field(
        default_factory=dict, description="Sent with every request; the values are never shown."
    )
    timeout: Duration = Field(default=60.0, description="How long a connection, or the next bytes, are waited for.")
    deadline: Duration = Field(default=300.0, description="How long one answer as a whole may take.")
    ca_file: Text | None = Field(
        default=None, description="A PEM file with more authorities to trust, relative to the config."
    )
    verify: bool = Field(default=True, description="Check the server's certificate; `false` only for a try.")


def placeholders(template: Any) -> list[str]:
    """The names in braces that the texts of a template hold, wherever they stand."""
    if isinstance(template, str):
        return _PLACEHOLDER.findall(template)
    parts = template.values() if isinstance(template, dict) else template if isinstance(template, list) else ()
    return [name for part in parts for name in placeholders(part)]


def check_placeholders(template: Any, known: Collection[str]) -> frozenset[str]:
    """The names in braces that the body of a request holds.

    Args:
        template: The body.
        known: What it may hold, in the order that an error names them.

    Raises:
        ValueError: It holds another one.
    """
    names = frozenset(placeholders(template))
    if unknown := sorted(names - {*known}):
        raise ValueError(f"body: there is no {{{unknown[0]}}}; expected {{{'}, {'.join(known)}}}")
    return names
