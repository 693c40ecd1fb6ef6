from diffusion_lit.tracking.table import Table

TABLE = Table(["run", "psnr", "a|b"], [["demo", "12.5", "1"], ["other run", "9", "2"]], {(0, 1)})


def test_text_is_aligned_and_marks():
    assert TABLE.text().splitlines() == [
        "run        psnr   a|b",
        "----------------------",
        "demo       12.5*    1",
        "other run     9     2",
    ]


def test_markdown_is_escaped_and_marks():
    assert TABLE.markdown().splitlines() == [
        "| run | psnr | a\\|b |",
        "| --- | ---: | ---: |",
        "| demo | **12.5** | 1 |",
        "| other run | 9 | 2 |",
    ]


def test_turning_twice_changes_nothing_and_a_narrow_terminal_turns():
    assert TABLE.turned().turned() == TABLE
    assert TABLE.turned().marked == {(0, 1)}
    assert TABLE.text(width=12) == TABLE.turned().text()
    assert TABLE.text(width=80) == TABLE.text()


def test_latex_is_escaped_and_marks():
    table = Table(["run", "p_1 & ±"], [["a^2", "50 %"], ["{b}", "1 ▲"]], {(1, 1)})
    assert table.latex("x < 1").splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{x $<$ 1}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"run & p\_1 \& $\pm$ \\",
        r"\midrule",
        r"a\^{}2 & 50 \% \\",
        r"\{b\} & \textbf{1 $\uparrow$} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
