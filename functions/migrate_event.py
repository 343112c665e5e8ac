"""Events that invoke the migration function by hand: a migration, and optionally a new API key."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import InvalidRequest
from shared.pydantic_errors import describe


class KeyOrder(BaseModel):
    """The API key that is to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    workspace: str = Field(description="Whose jobs the key leads to.")
    name: str = Field(description="What the key is for.")
    create_workspace: bool = Field(False, description="Make the workspace if there is none.")


class MigrateEvent(BaseModel):
    """An event that does not come from CloudFormation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    create_key: KeyOrder | None = None

    @classmethod
    def from_untrusted(cls, event: object) -> Self:
        """Build it from what the function was invoked with.

        Raises:
            InvalidRequest: One line names every field that is wrong.
        """
        try:
            return cls.model_validate(event)
        except ValidationError as error:
            raise InvalidRequest(describe(error, "event")) from None
