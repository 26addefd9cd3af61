"""What a section says of an endpoint over HTTP that is given texts: where it is, its key, how it is spoken to."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from qloader.config.fields import Secret, Section, Text, check_text, none_is_empty
from qloader.config.units import Duration

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _check_api(value: str) -> str:
    try:
        parts = urlsplit(check_text(value))
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if not is_usable or re.search(r"\s", value):
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
