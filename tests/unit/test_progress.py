"""The progress bar. Real: rich; faked: the terminal, a text buffer that says it is one."""

import io

import pytest

from tuning_room.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use(bar: ProgressBar, text: str = "page 1") -> None:
    with bar:
        bar.advance()
        bar.describe(text, done=1, total=2)
        bar.describe(text)


def test_piped_output_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    use(ProgressBar("convert", 2))
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "")


@pytest.mark.parametrize("total", [None, 0, 2])
def test_a_terminal_sees_name_and_text(total: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    use(ProgressBar("convert", total))
    assert "convert" in terminal.getvalue()
    assert "page 1" in terminal.getvalue()


@pytest.mark.parametrize("text", ["[/b] of notes", "a [red] herring", "{braces}", "100 %"])
def test_any_text_can_stand_beside_the_bar(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stderr", terminal)
    use(ProgressBar("convert", 2), text)
    assert text in terminal.getvalue()


def test_an_error_inside_goes_through_and_stops_the_bar() -> None:
    with pytest.raises(KeyError), ProgressBar("convert", 2) as bar:
        raise KeyError("x")
    assert not bar._bar.live.is_started
