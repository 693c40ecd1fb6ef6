"""What W&B was sent of a run: keys in the order of W&B's steps, so that nothing is sent twice or left out."""

from collections.abc import Iterable
from pathlib import Path

from diffusion_lit.files import write_text

__all__ = ["Mark"]


class Mark:
    """A file of one key a line; line n is the row that W&B calls step n.

    A key is written before its row is handed over. What really arrived only W&B can tell: see `settle`.

    Args:
        path: the file, which need not exist; None remembers in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8") if path is not None and path.exists() else ""
        self.keys = text.split("\n")[:-1]  # a kill may have left half of the last line
        self._known = set(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def settle(self, there: int, keys: Iterable[str]) -> None:
        """Agree with W&B, which has `there` rows.

        Rows that were handed over but never arrived are forgotten and so sent again. Where this file knows less than
        W&B has (it was lost, or the run folder was copied without it), the first of `keys` are taken to be there.

        Args:
            there: rows that W&B has.
            keys: of all that there is to send, in order.
        """
        settled = self.keys[:there]
        known = set(settled)
        settled += [key for key in keys if key not in known][: there - len(settled)]
        settled += ["?"] * (there - len(settled))
        self.keys, self._known = settled, set(settled)
        if self.path is not None:
            write_text(self.path, "".join(f"{key}\n" for key in settled))

    def add(self, key: str) -> int:
        """Note that a row is about to be handed over; return its step."""
        self.keys.append(key)
        self._known.add(key)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{key}\n")
        return len(self.keys) - 1
