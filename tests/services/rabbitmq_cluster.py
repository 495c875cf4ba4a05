"""Three RabbitMQ nodes that form a cluster on loopback."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.services.ports import connect, free_port
from tests.services.process import Child
from tests.services.rabbitmq import RabbitMQ, environment, log_in, script, write_config

NODES = 3


@dataclass(frozen=True)
class RabbitMQCluster(RabbitMQ):
    """Its first node's port stands for all where one is asked for; all share one epmd and one cookie."""

    ports: tuple[int, ...] = ()
    #: Node name -> the child that runs it.
    nodes: dict[str, Child] = field(default_factory=dict, repr=False)

    def launch(self) -> None:
        """The first node comes up alone: others that start beside it might form clusters of their own."""
        epmd, first, *others = self.children
        for child in (epmd, first):
            child.spawn()
            child.wait_ready()
        for child in others:
            child.spawn()

    def wait_ready(self) -> None:
        for child in self.children[1:]:
            child.wait_ready()


def rabbitmq_cluster(folder: Path) -> RabbitMQCluster:
    """A cluster with its data in `folder`, not started yet. Declare quorum queues once all nodes are up."""
    folder.mkdir(parents=True, exist_ok=True)
    epmd_port = free_port()
    places = [(free_port(), free_port()) for _ in range(NODES)]
    names = [f"penstock{dist_port}@localhost" for _, dist_port in places]
    conf = ["cluster_formation.peer_discovery_backend = classic_config"]
    conf += [f"cluster_formation.classic_config.nodes.{number} = {name}" for number, name in enumerate(names, 1)]
    nodes = {}
    for name, (port, dist_port) in zip(names, places, strict=True):
        home = folder / name
        home.mkdir(exist_ok=True)
        write_config(home, port=port, vhosts=["/"], conf=conf)
        # One home, and so one cookie.
        env = environment(home, dist_port=dist_port, epmd_port=epmd_port) | {"HOME": str(folder)}
        nodes[name] = Child(
            [script()], log=home / "rabbitmq.log", probe=partial(log_in, port), env=env, ready_s=120
        )  # fmt: skip
    epmd = Child(
        ["epmd", "-address", "127.0.0.1", "-port", str(epmd_port)], log=folder / "epmd.log",
        probe=lambda: connect(epmd_port), env=nodes[names[0]].env,
    )  # fmt: skip
    ports = tuple(port for port, _ in places)
    return RabbitMQCluster(folder, (epmd, *nodes.values()), ports[0], ports, nodes)
