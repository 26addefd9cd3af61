"""Where a state is that several machines share, and what its store needs to know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from qloader.config.fields import Secret, Section, Text, empty_is_none

_SCHEMES: Mapping[str, frozenset[str]] = {
    "s3": frozenset({"endpoint", "region", "access_key_id", "secret_access_key", "session_token"}),
    "gs": frozenset({"service_account"}),
    "az": frozenset({"endpoint", "account_name", "account_key"}),
    "file": frozenset(),
}
"""What each kind of store can be told."""

_OptionalText = Annotated[Text | None, BeforeValidator(empty_is_none)]


class RemoteOptions(Section):
    """What the store of `state.url` needs to know beside what the environment says, such as `AWS_ACCESS_KEY_ID`."""

    endpoint: _OptionalText = Field(
        default=None, repr=False, description="`s3`, `az`: the address of a server that speaks the same, such as MinIO."
    )
    region: _OptionalText = Field(default=None, description="`s3`: the bucket's region.")
    access_key_id: Secret = Field(default=None, description="`s3`: write `${VAR}`, not the key itself.")
    secret_access_key: Secret = Field(default=None, description="`s3`: write `${VAR}`, not the key itself.")
    session_token: Secret = Field(default=None, description="`s3`: write `${VAR}`, not the token itself.")
    account_name: _OptionalText = Field(default=None, description="`az`: the storage account.")
    account_key: Secret = Field(default=None, description="`az`: write `${VAR}`, not the key itself.")
    service_account: _OptionalText = Field(default=None, description="`gs`: the path of a service account's file.")

    def given(self) -> dict[str, str]:
        """What the config says, by key; secrets too, in plain text."""
        values = {key: getattr(self, key) for key in type(self).model_fields}
        return {
            key: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for key, value in values.items()
            if value is not None
        }

    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat."""
        values = [getattr(self, key) for key in type(self).model_fields]
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))


def check_url(value: str | None) -> str | None:
    """The URL of an object in a store.

    Raises:
        ValueError: It is none, or holds what belongs elsewhere.
    """
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in _SCHEMES and not parts.query and not parts.fragment
    except ValueError:
        is_usable = False
    if not is_usable or re.search(r"\s", value):
        raise _unexpected()
    if "@" in parts.netloc:
        raise ValueError("an address holds no credentials; give them in the environment, or in `options` as ${VAR}")
    if bool(parts.netloc) == (parts.scheme == "file") or not parts.path.strip("/") or parts.path.endswith("/"):
        raise _unexpected()
    return value


def _unexpected() -> ValueError:
    return ValueError(
        "expected the place of an object, such as s3://bucket/handbook, gs://, az:// or file:///folder/handbook"
    )


def check_options(url: str | None, options: RemoteOptions) -> RemoteOptions:
    """Refuses options that a kind of store does not know.

    Raises:
        ValueError: Names the first.
    """
    known = _SCHEMES[urlsplit(url).scheme] if url else frozenset()
    for key in options.given():
        if not url:
            raise ValueError(f"`{key}` is for the store of a state that has a `url`")
        if key not in known:
            raise ValueError(f"a store of the kind {urlsplit(url).scheme}:// knows no `{key}`")
    return options
