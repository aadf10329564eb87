"""The names of an instance's keys in Redis."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    """The names of one instance's keys."""

    instance: str

    @property
    def prefix(self) -> str:
        """What all of them begin with; the braces make it the Cluster's hash tag."""
        return f"corec:{{{self.instance}}}:"

    @property
    def pos(self) -> str:
        """The position hash."""
        return self.prefix + "pos"

    @property
    def alerts(self) -> str:
        """The alerts stream."""
        return self.prefix + "alertas"

    @property
    def dead(self) -> str:
        """The dead-letter stream."""
        return self.prefix + "dead"

    @property
    def owner(self) -> str:
        """The hash that says who holds this instance_id; it expires unless it is renewed."""
        return self.prefix + "owner"

    def out(self, canal: int) -> str:
        """The stream a canal's messages go to."""
        return f"{self.prefix}out:{canal}"

    def incoming(self, canal: int) -> str:
        """The stream a canal's readings come from."""
        return f"{self.prefix}in:{canal}"

    def aside(self, key: str, stamp: str) -> str:
        """The name under which an older world's key is kept for a day."""
        return f"{self.prefix}aside:{stamp}:{key.removeprefix(self.prefix)}"
