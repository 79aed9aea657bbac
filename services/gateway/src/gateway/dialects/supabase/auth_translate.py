"""Between GoTrue's words and ours."""

import time
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gateway.dialects.supabase.auth_schemas import IdentityView, SessionView, UserView
from gateway.dialects.surface import Surface
from gateway.tokens import Issuer, Session
from gateway.users import User

_APP_METADATA: dict[str, Any] = {"provider": "email", "providers": ["email"]}
EXTERNAL = ("apple", "azure", "bitbucket", "discord", "facebook", "github", "gitlab", "google", "twitter")


def user_view(user: User) -> UserView:
    said = user.profile | {
        "email": user.email,
        "email_verified": user.email_verified_at is not None,
        "phone_verified": False,
        "sub": str(user.id),
    }
    identity = IdentityView(
        identity_id=uuid5(NAMESPACE_URL, str(user.id)),
        id=user.id,
        user_id=user.id,
        identity_data=said,
        last_sign_in_at=user.last_sign_in_at,
        created_at=user.created_at,
        updated_at=user.updated_at,
        email=user.email,
    )
    return UserView(
        id=user.id,
        email=user.email,
        email_confirmed_at=user.email_confirmed_at,
        confirmed_at=user.email_confirmed_at,
        last_sign_in_at=user.last_sign_in_at,
        app_metadata=_APP_METADATA,
        user_metadata=said,
        identities=[identity],
        created_at=user.created_at,
        updated_at=user.updated_at,
    )


def session_view(surface: Surface, user: User, session: Session) -> SessionView:
    """The session with a new access token, whose claims are Supabase's."""
    lifetime = surface.tokens.lifetime(Issuer.GOTRUE)
    signed_in = int((user.last_sign_in_at or user.created_at).timestamp())
    claims = {
        "iss": f"{surface.addresses.public_url.rstrip('/')}/auth/v1",
        "email": user.email,
        "phone": "",
        "app_metadata": _APP_METADATA,
        "user_metadata": user_view(user).user_metadata,
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": signed_in}],
        "session_id": str(session.id),
        "is_anonymous": False,
        **({"email_verified": True} if user.email_verified_at else {}),
    }
    return SessionView(
        access_token=surface.tokens.access(Issuer.GOTRUE, user.id, claims),
        expires_in=lifetime,
        expires_at=int(time.time()) + lifetime,
        refresh_token=session.refresh_token,
        user=user_view(user),
    )


def settings_view(surface: Surface) -> dict[str, Any]:
    users = surface.users
    return {
        "external": {
            "anonymous_users": False,
            "email": users.offered,
            "phone": False,
            **dict.fromkeys(EXTERNAL, False),
        },
        "disable_signup": not users.offered,
        "mailer_autoconfirm": not users.confirms_emails,
        "phone_autoconfirm": False,
        "sms_provider": "",
        "saml_enabled": False,
    }
