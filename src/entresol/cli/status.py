"""`entresol status` and `derive`: how a venue stands, and whether L1 data says the same."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from entresol.cli.node_process import read_genesis
from entresol.cli.output import CommandError, Json, command, expect, progress, show, table_of
from entresol.cli.settling import derive_state
from entresol.cli.venue import DEFAULT_VENUE, Venue, VenueOption
from entresol.client.errors import ConnectionLostError
from entresol.client.exchange import Exchange
from entresol.machine.execute import DivergenceError, MachineFaultError
from entresol.node.derive import DeriveError, DeriveResult
from entresol.settlement.l1 import L1Client
from entresol.settlement.reader import BlobMissingError
from entresol.settlement.view import L1View

expect(DeriveError, BlobMissingError, DivergenceError, MachineFaultError)

app = typer.Typer()


@app.command()
@command
def status(venue: VenueOption = DEFAULT_VENUE, as_json: Json = False) -> None:
    """Show the node, its batches and their way through L1."""
    place = Venue.load(venue)
    client = L1Client(place.l1_url)
    view = L1View(client, place.deployment)
    view.refresh()
    document: dict[str, Any] = {
        "l1": {
            "url": place.l1_url,
            "block": view.head.number if view.head else None,
            "inbox_items": len(view.items),
            "records": len(view.records),
            "claims": len(view.claims),
            "final": len(view.finals),
        },
        "node": {"url": place.api_url, **_read_status(place)},
    }
    rows = [
        [part, name, str(value)]
        for part, values in document.items()
        for name, value in values.items()
    ]
    show(document, as_json, table_of("Venue", ["", "", "value"], rows))


def _read_status(place: Venue) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        async with await Exchange.connect(place.api_url) as exchange:
            found: dict[str, Any] = await exchange.read("public/status")
            return {"reachable": True, **found}

    try:
        return asyncio.run(read())
    except ConnectionLostError:
        return {"reachable": False}


@app.command()
@command
def derive(
    directory: Annotated[
        Path, typer.Option(help="Empty directory for the derived state and its report.")
    ] = Path("derived"),
    venue: VenueOption = DEFAULT_VENUE,
    as_json: Json = False,
) -> None:
    """Rebuild all state from L1 data alone and compare it with the claims on L1 and the node.

    Needs the deployment and the genesis configuration, which are public, and nothing of the node.
    Exits with status 1 when any root differs.
    """
    place = Venue.load(venue)
    with progress(as_json) as bars:
        task = bars.add_task("data records", total=None)
        derived = derive_state(
            place.l1_url,
            place.deployment,
            read_genesis(place.genesis),
            directory,
            lambda done, total: bars.update(task, completed=done, total=total),
        )
    compared = _compare_with_node(place, derived)
    document = {**derived.to_json(), "node": compared}
    rows = [
        ["records", f"{len(derived.records):,}"],
        ["blocks", f"{derived.blocks:,}"],
        ["operations", f"{derived.operations:,}"],
        ["state root", "0x" + derived.state_root.hex()],
        ["claims on L1 agree", "yes" if derived.agrees else "NO"],
        ["node agrees", compared["verdict"]],
    ]
    show(document, as_json, table_of("Derived from L1 alone", ["", "value"], rows))
    if not derived.agrees or compared["verdict"] == "NO":
        raise CommandError(
            "What L1 data says is not what was claimed: do not trust this venue; see the report "
            f"in {directory}."
        )


def _compare_with_node(place: Venue, derived: DeriveResult) -> dict[str, Any]:
    """Roots of every record as the node's builder has them; the node may be away."""

    async def read() -> list[dict[str, Any]]:
        async with await Exchange.connect(place.api_url) as exchange:
            found: list[dict[str, Any]] = await exchange.read("public/get_batches", count=1_000)
            return found

    try:
        batches = {entry["batch"]: entry for entry in asyncio.run(read())}
    except ConnectionLostError:
        return {"verdict": "not reachable", "compared": 0}
    same = [
        (entry["durable_root"], entry["volatile_root"])
        == ("0x" + record.durable_root.hex(), "0x" + record.volatile_root.hex())
        for record in derived.records
        if (entry := batches.get(record.index)) is not None
    ]
    return {"verdict": "yes" if all(same) and same else "NO", "compared": len(same)}
