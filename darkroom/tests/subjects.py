"""What each service was seen to say and to hear on the bus, and what none of them does."""

from uuid import uuid4

from contracts.topology import CONSUMERS
from darkroom.stack import NATS_USERS

ID = uuid4()
DROPS = "$JS.API.STREAM.MSG.DELETE.DEAD"
"""A dead letter, which an operator forgets in the studio: all that a service may delete, and the gateway alone."""
SAYS = {
    "gateway": {
        f"generation.requested.image.interactive.{ID}",
        f"generation.outcome.{ID}",
        f"notification.{ID}.completed",
        f"$JS.API.DIRECT.GET.OUTCOMES.generation.outcome.{ID}",
        "ledger.affordable",
        "ledger.balance",
        "ledger.prices",
        "ledger.credit_packs",
        "ledger.create_payment",
        "ledger.confirm_payment",
        "ledger.payment_event",
        "ledger.consume",
        "ledger.usage",
        "generator.catalog",
        "generator.keys",
        "generator.set_key",
        "generator.take_result",
        "generator.look_at_task",
        "generator.moderate",
        *(f"$JS.API.CONSUMER.INFO.{each.stream}.{each.durable}" for each in CONSUMERS),
        *(f"$JS.API.CONSUMER.LIST.{each.stream}" for each in CONSUMERS),
        "$JS.API.STREAM.INFO.DEAD",
        "$JS.API.STREAM.INFO.NOTIFICATIONS",
        "$JS.API.CONSUMER.CREATE.NOTIFICATIONS",
        "$JS.FC.NOTIFICATIONS.Ab12.Cd34",
        "$O.claims.C.chunk",
        "$O.claims.M.bmFtZQ==",
        "storage.take_upload",
        "storage.find_media",
        "storage.offer_upload",
        "storage.usage",
        "storage.lend",
        "$JS.API.DIRECT.GET.OBJ_claims",
        "$JS.API.DIRECT.GET.OBJ_claims.$O.claims.M.bmFtZQ==",
        "storage.show",
        "storage.delete",
        "storage.forget",
        "ledger.course",
        "ledger.figures",
        "generator.course",
        "generator.figures",
        "generator.models",
        "generator.switch_model",
        "storage.course",
        "$JS.API.DIRECT.GET.GENERATION",
        "$JS.API.DIRECT.GET.DEAD",
        DROPS,
    },
    "generator": {
        f"generation.rendered.image.batch.{ID}",
        f"generation.outcome.{ID}",
        f"$JS.API.DIRECT.GET.OUTCOMES.generation.outcome.{ID}",
        f"progress.{ID}",
        "$JS.API.STREAM.INFO.OBJ_claims",
        "$JS.API.STREAM.MSG.GET.OBJ_claims",
        "$JS.API.STREAM.PURGE.OBJ_claims",
        "$O.claims.C.chunk",
        "$O.claims.M.bmFtZQ==",
        "$JS.API.DIRECT.GET.OBJ_claims",
        "$JS.API.DIRECT.GET.OBJ_claims.$O.claims.M.bmFtZQ==",
        f"hint.{ID}",
        "storage.lend",
    },
    "storage": {
        f"generation.outcome.{ID}",
        f"$JS.API.DIRECT.GET.OUTCOMES.generation.outcome.{ID}",
        f"progress.{ID}",
        "gateway.outcomes",
        "$JS.API.DIRECT.GET.OBJ_claims",
        "$JS.API.DIRECT.GET.OBJ_claims.$O.claims.M.bmFtZQ==",
        "generator.fresh_address",
        "$O.claims.C.chunk",
        "$O.claims.M.bmFtZQ==",
        "ledger.plans",
    },
    "ledger": {
        f"generation.funded.image.interactive.{ID}",
        f"generation.outcome.{ID}",
        f"credits.granted.{ID}",
        f"credits.payment_received.{ID}",
        f"credits.changed.{ID}",
        f"$JS.API.DIRECT.GET.OUTCOMES.generation.outcome.{ID}",
        "gateway.outcomes",
        "$JS.API.STREAM.INFO.OUTCOMES",
    },
}
"""What each service's code was seen to publish, besides what its durables take."""
for _each in CONSUMERS:
    SAYS[_each.service] |= {
        f"$JS.API.CONSUMER.MSG.NEXT.{_each.stream}.{_each.durable}",
        f"$JS.ACK.{_each.stream}.{_each.durable}.1.2.3.4.5",
        f"dead.{_each.durable}",
    }
STORAGE_ANSWERS = ("take_upload", "offer_upload", "find_media", "lend", "usage", "keep", "delete", "show", "forget")
HEARS = {
    # The server lets `verdict.>` pass where `verdict.*` is allowed; nothing deeper is ever said.
    "gateway": {
        *("_INBOX_gateway.x.*", "gateway.outcomes", "gateway.forget_voices"),
        *(f"verdict.{ID}", f"progress.{ID}", "verdict.>", "progress.>"),
    },
    "generator": {
        "_INBOX_generator.x.*",
        "generator.catalog",
        "generator.fresh_address",
        "generator.keys",
        "generator.set_key",
        "generator.take_result",
        "generator.look_at_task",
        "generator.moderate",
        f"hint.{ID}",
        "hint.>",
    },
    "storage": {"_INBOX_storage.x.*", *(f"storage.{each}" for each in STORAGE_ANSWERS)},
    "ledger": {
        *("_INBOX_ledger.x.*", "ledger.affordable", "ledger.balance", "ledger.prices", "ledger.grant"),
        *("ledger.consume", "ledger.usage", "ledger.set_plan", "ledger.set_prices", "ledger.plans"),
        *("ledger.credit_packs", "ledger.create_payment", "ledger.confirm_payment", "ledger.payment_event"),
    },
}
NOBODY_SAYS = {
    *(
        f"$JS.API.STREAM.{verb}.{stream}"
        for stream in ("OUTCOMES", "GENERATION", "NOTIFICATIONS", "CREDITS", "DEAD", "MINE")
        for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE")
        if (verb, stream) != ("MSG.DELETE", "DEAD")
    ),
    *(f"$JS.API.STREAM.{verb}.OBJ_claims" for verb in ("CREATE", "UPDATE", "DELETE", "MSG.DELETE", "RESTORE")),
    *(
        f"$JS.API.CONSUMER.{verb}.{each.stream}.{each.durable}"
        for each in CONSUMERS
        for verb in ("CREATE", "DURABLE.CREATE", "DELETE", "PAUSE", "RESET", "UNPIN", "LEADER.STEPDOWN")
    ),
    *(
        f"$JS.API.CONSUMER.{verb}.NOTIFICATIONS.mine"
        for verb in ("CREATE", "DURABLE.CREATE", "MSG.NEXT", "DELETE", "CREATE.NOTIFICATIONS")
    ),
    "$JS.API.CONSUMER.CREATE.NOTIFICATIONS.mine.notification.*.*",
    "$JS.API.CONSUMER.CREATE.OUTCOMES",
    "$JS.API.CONSUMER.CREATE.GENERATION.mine",
    "$JS.API.CONSUMER.LIST.NOTIFICATIONS",
    "$JS.API.CONSUMER.NAMES.GENERATION",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.INFO.GENERATION",
    "$JS.API.STREAM.LEADER.STEPDOWN.OUTCOMES",
    "$JS.API.STREAM.PEER.REMOVE.OUTCOMES",
    "$JS.API.DIRECT.GET.OUTCOMES",
    f"$JS.API.DIRECT.GET.GENERATION.generation.funded.image.interactive.{ID}",
    "$JS.API.META.LEADER.STEPDOWN",
    "$JS.API.SERVER.REMOVE",
    "$JS.API.ACCOUNT.PURGE.$G",
    "$JS.API.INFO",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.GENERATION.ledger-hold-requested",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.USER.INFO",
    f"verdict.{ID}",
    f"credits.taken.{ID}",
    "ledger.grant",
    "ledger.set_plan",
    "ledger.set_prices",
    "dead.nobody",
    "_INBOX.x.y",
    *(f"_INBOX_{user}.x.y" for user in NATS_USERS),
    "elsewhere",
}
"""An inbox is only written to as an answer. The operator may all of these, the watcher some of them."""
NOBODY_HEARS = {
    *(">", "*", "*.>", "$SYS.>", "$SYS.REQ.>", "$JS.>", "$JS.API.>", "$JS.API.STREAM.>", "$JS.API.CONSUMER.MSG.NEXT.>"),
    *("$JS.ACK.>", "$JS.EVENT.>", "$O.claims.>", "$O.claims.C.*", "generation.>", "generation.requested.>"),
    *("generation.funded.*.*.*", "generation.outcome.*", "credits.>", "notification.>", "notification.*.*", "dead.*"),
    *("ledger.*", "ledger.>", "gateway.>", "generator.>", "_INBOX.>", "_INBOX_operator.>"),
}
