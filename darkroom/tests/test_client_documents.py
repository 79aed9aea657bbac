"""What the Python client knows is what the documents of the API say."""

import json
import re
from pathlib import Path

from darkroom.client import errors, views, wishes

ROOT = Path(__file__).parents[2]
OF_OTHERS = {
    *("webhook_refused", "signature_refused", "payments_not_offered", "username_taken", "stale_version"),
    *("verification_needed", "switched_off", "not_read", "text_changed"),
}
"""Codes that no route says which the client asks."""
OF_THE_WIRE: dict[type[views.View], str] = {
    views.Asset: "AssetView",
    views.Upload: "UploadView",
    views.Usage: "Usage",
    views.Generation: "GenerationView",
    views.Quote: "QuoteView",
    views.Batch: "BatchView",
    views.Failure: "ErrorView",
    views.Balance: "Credits",
    views.StatementEntry: "StatementEntryView",
    views.Model: "ModelView",
    views.Price: "PriceView",
    views.Webhook: "WebhookView",
    views.ApiKey: "ApiKeyView",
    views.GenerationPage: "GenerationPage",
    views.StatementPage: "StatementPage",
    views.Models: "Models",
    views.Webhooks: "Webhooks",
    views.ApiKeys: "ApiKeyList",
}


def test_every_documented_code_is_an_exception() -> None:
    page = (ROOT / "docs/problems.md").read_text()
    documented = {code for code, status in re.findall(r"^\| `(\w+)` \| \d+ \| (.*?) \|", page, re.MULTILINE)}
    assert documented
    assert documented - OF_OTHERS == set(errors._BY_CODE), "a new code: give it an exception"


def test_the_models_are_those_of_the_wire() -> None:
    """A field that the gateway shows is one that the client has; a wish that it takes is one that can be said."""
    schemas = json.loads((ROOT / "docs/openapi.json").read_text())["components"]["schemas"]
    for view, name in OF_THE_WIRE.items():
        assert set(view.model_fields) == set(schemas[name]["properties"]), name
    for wish in (wishes.NewGeneration, wishes.NewInput, wishes.Message, wishes.NewApiKey):
        schema = schemas[wish.__name__]
        assert set(wish.__annotations__) == set(schema["properties"]), wish
        assert wish.__required_keys__ == set(schema["required"]), wish
