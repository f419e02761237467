"""Clients that all users' calls share must not carry what a server tells in one user's call into another's."""

from http.cookiejar import CookieJar, DefaultCookiePolicy


def no_cookies() -> CookieJar:
    """A jar that keeps nothing."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
