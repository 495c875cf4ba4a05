"""What the gateway is made of; a test hands in others."""

from dataclasses import dataclass

from gateway.authentication import Authentication
from gateway.inputs import Inputs
from gateway.links import Links
from gateway.quotas import Toll
from gateway.reading import Reader
from gateway.register import Register
from gateway.resolving import Resolver
from gateway.submitting import Submitter
from gateway.tally import Tally
from gateway.waiting import Waiting
from models.catalog import Catalog
from settings import Settings
from storage.access import Access
from storage.deadletters import DeadLetters
from storage.deliveries import Deliveries
from storage.deployments import Deployments
from storage.inputs import Buckets
from storage.jobs import JobStore
from storage.objects import Objects
from storage.pins import Pins
from storage.refused import Refused
from storage.scorings import Scorings
from storage.webhooks import Endpoints
from tasks.publisher import Publisher
from tasks.webhooks.addresses import Policy


@dataclass(frozen=True, kw_only=True)
class Parts:
    settings: Settings
    jobs: JobStore
    reader: Reader
    objects: Objects
    access: Access
    authentication: Authentication
    resolver: Resolver
    deployments: Deployments
    publisher: Publisher
    register: Register
    waiting: Waiting
    inputs: Inputs
    submitter: Submitter
    links: Links
    tally: Tally
    endpoints: Endpoints
    deliveries: Deliveries
    dead_letters: DeadLetters
    toll: Toll
    refused: Refused
    scorings: Scorings
    pins: Pins
    buckets: Buckets
    #: Where webhooks may go.
    policy: Policy

    @property
    def catalog(self) -> Catalog:
        """The models as they are now."""
        return self.resolver.catalog
