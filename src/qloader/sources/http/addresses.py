"""Which hosts and addresses a source may speak to."""

from __future__ import annotations

import ipaddress
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit, urlunsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet.

    Loopback, link-local, private, shared, multicast and reserved addresses are not, nor are those that carry one of
    these in IPv6 (mapped, 6to4, NAT64).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in ipaddress.IPv6Network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def is_loopback_name(host: str) -> bool:
    """Whether a host is this machine by its very name: `localhost`, `127.0.0.1`, `::1`."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def is_private_literal(host: str) -> bool:
    """Whether a host is an IP address that is not public; a name is not looked up."""
    try:
        return not is_public(host)
    except ValueError:
        return is_loopback_name(host)


def shown(url: str) -> str:
    """An address for messages: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2]
    return urlunsplit((parts.scheme, _place(parts), parts.path, "", ""))


def without_user(url: str) -> str:
    """An address without the user and password that may stand in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return url if "@" not in parts.netloc else urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def same_host(url: str, other: str) -> bool:
    """Whether two addresses are on one server: the same name and port, or the usual ports of HTTP and HTTPS."""
    one, two = urlsplit(url), urlsplit(other)
    if (one.hostname or "").lower() != (two.hostname or "").lower():
        return False
    ports = _port(one), _port(two)
    return ports[0] == ports[1] or (
        one.scheme != two.scheme and ports == (_DEFAULT_PORTS.get(one.scheme), _DEFAULT_PORTS.get(two.scheme))
    )


def matches_host(host: str, patterns: tuple[str, ...]) -> bool:
    """Whether a host name is one of these; `*.example.com` stands for all below it, `*` for any."""
    return any(fnmatchcase(host.lower(), pattern.lower()) for pattern in patterns)


def _port(parts: SplitResult) -> int | None:
    return parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _place(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{host}:{port}" if port else host
