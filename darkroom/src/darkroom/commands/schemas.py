"""`darkroom schemas`."""

import typer

from darkroom.commands.options import fail


def schemas() -> None:
    """Write what follows from the code into the repository.

    The JSON Schemas, AsyncAPI, OpenAPI, .env.example, NATS's users, KEDA's scalers, the SQL of frontends' tables.
    """
    from darkroom import views
    from darkroom.environment_example import environment_example
    from darkroom.schemas.documents import SCHEMAS_FOLDER, contract_documents, openapi_documents, repository
    from darkroom.topology.authorization import nats_documents
    from darkroom.topology.cluster import cluster_documents

    try:
        root = repository()
    except FileNotFoundError as error:
        fail(f"Nothing was written: {error}.")
    documents = contract_documents() | openapi_documents() | nats_documents() | cluster_documents()
    documents |= views.documents()
    documents[".env.example"] = environment_example()
    for path in (root / SCHEMAS_FOLDER).glob("*.json"):
        if str(path.relative_to(root)) not in documents:
            path.unlink()
    for name, text in documents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    typer.echo(f"Wrote {len(documents)} documents below {root}.")
