"""Whether this dialect makes anything now, and whether for this user."""

from contracts.money import in_credits, to_units
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.orders import Order
from gateway.refusals import SwitchedOff, VerificationNeeded
from gateway.settings import SocialSettings


async def admit(surface: Surface, settings: SocialSettings, who: Caller, order: Order) -> None:
    """Lets an order pass. A service answers for its users itself.

    Raises:
        SwitchedOff: nothing is made here at present.
        VerificationNeeded: it may cost more than users may spend whose e-mail address nobody verified.
        Invalid, UnknownModel: it would not be accepted.
    """
    if not settings.ai_generation_enabled:
        raise SwitchedOff("AI generation is switched off here at present. What was made before can still be seen.")
    if settings.verify_above_credits is None or who.is_verified or who.is_service:
        return
    _, quote = await surface.queries.price(who, order)
    if quote.amount > to_units(settings.verify_above_credits):
        raise VerificationNeeded(
            f"This may cost {in_credits(quote.amount)} credits. Verify your e-mail address to spend more than "
            f"{in_credits(to_units(settings.verify_above_credits))} at once.",
            details={"required": in_credits(quote.amount)},
        )
