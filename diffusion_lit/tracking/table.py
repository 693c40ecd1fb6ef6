"""A small table that prints itself as plain text, Markdown or LaTeX."""

from dataclasses import dataclass, field

__all__ = ["Table"]

_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%_#${}"},
    **{"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", "<": "$<$", ">": "$>$", "\N{NO-BREAK SPACE}": "~"},
    **{"±": r"$\pm$", "†": r"$\dagger$", "\N{EN DASH}": "--", "…": r"\dots{}"},
    **{"▲": r"$\uparrow$", "▼": r"$\downarrow$", "≠": r"$\neq$", "✕": r"$\times$"},
}


@dataclass(frozen=True)
class Table:
    """Cells of text under headings; the first column names the row, the others are aligned to the right.

    Args:
        columns: headings.
        rows: one list of cells a row, as long as `columns`.
        marked: (row, column) of the cells to bring out, such as the best value of a column.
    """

    columns: list[str]
    rows: list[list[str]]
    marked: set[tuple[int, int]] = field(default_factory=set)

    def turned(self) -> "Table":
        """Return the table with rows and columns exchanged."""
        grid = [self.columns, *self.rows]
        columns, *rows = ([row[j] for row in grid] for j in range(len(self.columns)))
        return Table(columns, rows, {(j - 1, i + 1) for i, j in self.marked})

    def text(self, width: int | None = None) -> str:
        """Return plain text, marked cells with a star; turned on its side if it is wider than `width` characters."""
        lines = self._lines(" ", "*")
        if width is not None and len(lines[0]) > width and len(self.rows) < len(self.columns):
            return self.turned().text()
        head, *body = lines
        return "\n".join(line.rstrip() for line in [head, "-" * len(head), *body])

    def markdown(self) -> str:
        """Return a Markdown table, marked cells in bold."""
        rows = [self.columns, *self.rows]
        cells = [[self._cell(i - 1, j, cell, "**") for j, cell in enumerate(row)] for i, row in enumerate(rows)]
        rule = ["---", *("---:" for _ in self.columns[1:])]
        escaped = [[cell.replace("|", "\\|") for cell in row] for row in cells]
        return "\n".join(f"| {' | '.join(row)} |" for row in [escaped[0], rule, *escaped[1:]])

    def latex(self, title: str) -> str:
        """Return a table environment for the booktabs package, marked cells in bold."""
        rows = [
            [rf"\textbf{{{_latex(c)}}}" if (i, j) in self.marked else _latex(c) for j, c in enumerate(row)]
            for i, row in enumerate(self.rows)
        ]
        head = " & ".join(map(_latex, self.columns))
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{_latex(title)}}}"]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}", r"\toprule", head + r" \\", r"\midrule"]
        lines += [" & ".join(row) + r" \\" for row in rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])

    def _cell(self, i: int, j: int, cell: str, mark: str) -> str:
        return f"{mark}{cell}{mark}" if (i, j) in self.marked else cell

    def _lines(self, plain: str, mark: str) -> list[str]:
        rows = [self.columns, *self.rows]
        cells = [
            [cell if j == 0 else cell + (mark if (i - 1, j) in self.marked else plain) for j, cell in enumerate(row)]
            for i, row in enumerate(rows)
        ]
        widths = [max(len(row[j]) for row in cells) for j in range(len(self.columns))]
        return [
            "  ".join(cell.ljust(w) if j == 0 else cell.rjust(w) for j, (cell, w) in enumerate(zip(row, widths)))
            for row in cells
        ]


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
