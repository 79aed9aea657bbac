"""Where a browser goes to sign in with another provider: Supabase's own page, which the operator named."""

import re
from collections.abc import Mapping

from yarl import URL

from gateway.refusals import Invalid, NotConfigured
from gateway.settings import AddressSettings, TokenSettings

MAX_ADDRESS_CHARACTERS = 2000
_PROVIDER = re.compile(r"[a-z][a-z0-9_]{1,30}")
PASSED_ON = ("scopes", "code_challenge", "code_challenge_method")
"""What supabase-js sends besides, for Supabase alone."""


class OAuth:
    """Builds addresses; nobody is called."""

    def __init__(self, tokens: TokenSettings, addresses: AddressSettings) -> None:
        self._supabase_url = tokens.supabase_url
        self._origins = {origin.strip().rstrip("/") for origin in addresses.cors_origins.split(",")}

    def url(self, provider: str, redirect_to: str | None, passed_on: Mapping[str, str]) -> str:
        """The page that signs a user in and sends the browser back to `redirect_to`.

        Raises:
            Invalid: no provider's name, or an address of no frontend. NotConfigured: there is no Supabase.
        """
        if self._supabase_url is None:
            raise NotConfigured("Unsupported provider: provider is not enabled. The operator has to set SUPABASE_URL.")
        if not _PROVIDER.fullmatch(provider):
            raise Invalid("Unsupported provider: it is no provider's name.")
        query = {"provider": provider, **{name: passed_on[name] for name in PASSED_ON if name in passed_on}}
        if redirect_to:
            query["redirect_to"] = self._checked(redirect_to)
        return str(URL(f"{self._supabase_url.rstrip('/')}/auth/v1/authorize").with_query(query))

    def _checked(self, address: str) -> str:
        try:
            url = URL(address)
            is_page = url.scheme in {"http", "https"} and bool(url.host) and url.user is None
            origin = str(url.origin()) if is_page else ""
        except ValueError:
            origin = ""
        if not origin or len(address) > MAX_ADDRESS_CHARACTERS:
            raise Invalid("redirect_to has to be the address of a page.")
        if "*" not in self._origins and origin not in self._origins:
            raise Invalid("redirect_to is no frontend's: the operator names them in CORS_ORIGINS.")
        return address
