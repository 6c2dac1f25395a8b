"""Which venue a command talks to, and as whom.

`entresol up` writes `venue.json` into its directory; every other command reads it.  Who acts is
either a keystore file or one of the public accounts of a development L1 node.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

import typer

from entresol.cli.output import CommandError
from entresol.client.keys import Key, development_key, load_key
from entresol.settlement.deploy import Deployment

VENUE_FILE: Final = "venue.json"
DEPLOYMENT_FILE: Final = "deployment.json"

BATCHER, PROPOSER, OPERATOR, PUBLISHER, MARKET_MAKER, FIRST_TRADER = range(6)
"""Development accounts by what they do at a venue that `entresol up` starts."""

VenueOption = Annotated[
    Path,
    typer.Option("--venue", envvar="ENTRESOL_VENUE", help="Directory that `entresol up` uses."),
]
TraderOption = Annotated[
    int,
    typer.Option(
        "--trader",
        min=FIRST_TRADER,
        max=19,
        help="Act as this development account (public keys of a development L1 node).",
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key", help="Act as the owner in this keystore; password from ENTRESOL_PASSWORD or asked."
    ),
]
SubaccountOption = Annotated[int, typer.Option(min=0, max=65_535, help="The owner's subaccount.")]

DEFAULT_VENUE: Final = Path("var")


@dataclass(frozen=True, slots=True)
class Venue:
    """Where a venue's L1 node, its node and its deployment are."""

    l1_url: str
    api_url: str
    deployment: Deployment
    genesis: dict[str, Any]

    def save(self, directory: Path) -> None:
        """Write the two files that other commands read."""
        directory.mkdir(parents=True, exist_ok=True)
        self.deployment.save(directory / DEPLOYMENT_FILE)
        fields = {"l1_url": self.l1_url, "api_url": self.api_url, "genesis": self.genesis}
        temporary = directory / (VENUE_FILE + ".new")
        temporary.write_text(json.dumps(fields, indent=2) + "\n")
        temporary.replace(directory / VENUE_FILE)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a venue's files; raises CommandError when there is none."""
        try:
            fields = json.loads((directory / VENUE_FILE).read_text())
            deployment = Deployment.load(directory / DEPLOYMENT_FILE)
            return cls(fields["l1_url"], fields["api_url"], deployment, fields["genesis"])
        except FileNotFoundError:
            raise CommandError(
                f"There is no venue in {directory}: start one with `entresol up`, or name its "
                "directory with --venue."
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(f"{directory / VENUE_FILE} is damaged: {error}.") from None


def load_owner(venue: Venue, trader: int, keystore: Path | None) -> Key:
    """The key that a command acts with; raises WalletError."""
    if keystore is None:
        return development_key(trader, venue.deployment.chain_id)
    password = os.environ.get("ENTRESOL_PASSWORD")
    if password is None:
        password = typer.prompt("Password", hide_input=True, err=True)
    return load_key(keystore, password)
