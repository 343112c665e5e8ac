"""What one picture costs, by the operator's own table: providers do not say it in their answers."""

from collections.abc import Mapping
from dataclasses import dataclass

ANY = "*"


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices of one model.

    Args:
        microdollars: Of one image, by `quality size`, by size, by quality, or `*` for all others;
            the first that fits counts.
    """

    microdollars: Mapping[str, int]

    def of(self, quality: str, size: str, images: int) -> int | None:
        """Return the price of some images in micro-dollars; None if the table does not say."""
        for name in (f"{quality} {size}", size, quality, ANY):
            if name in self.microdollars:
                return self.microdollars[name] * images
        return None
