"""The report in a real headless Chromium: it sorts, walks, fits every width, and runs nothing that a name brings."""

import pytest

from tests.browser import browse, find_browser
from tests.training.showcase import ablation, exhibits, robustness
from tests.training.test_report import _result
from training.report import render_report

EVIL = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(2)>',
    "'-alert(3)-'",
    "{{ 7 * 7 }}</style><script>document.title = 'owned'</script>",
)
CONDITIONS = ("clean", *(f"recorded noise, {snr_db} dB" for snr_db in (20, 10, 0)), "Vorbis, lowest rate")
PLAIN = ("bell", "dog", "rain", "wind")


@pytest.fixture(scope="module")
def page():
    command = find_browser()
    if command is None:
        pytest.skip("no Chromium: put one in PATH, or let `python -m tests.get_browser` fetch one")
    with browse(command) as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    for name, labels in {"plain": PLAIN, "evil": EVIL, "many": tuple(f"class {i}" for i in range(40))}.items():
        result = _result(labels).model_copy(update={"ablation": ablation(), "dataset": labels[0]})
        shown = exhibits(labels, uri=f"{labels[0]}/{'long-' * 8}{labels[1]}", n_points=len(labels) * 3)
        hard = robustness(uri=labels[0], streams=tuple(f"stream{i}" for i in range(4)), conditions=CONDITIONS)
        (folder / f"{name}.html").write_text(render_report(result, shown, hard), encoding="utf-8")
    return folder


def test_hostile_names_are_shown_and_never_run(page, reports):
    page.open(reports / "evil.html")
    title = page.ask("document.title")
    assert title.startswith(EVIL[0])
    for selector in ("#classes thead th:nth-child(2) button", "#map-classes button", ".point", ".picture"):
        page.click(selector)
    page.press("ArrowRight")
    assert EVIL[0] in page.ask("document.querySelector('#map-says').innerText")
    assert page.ask("document.querySelectorAll('script').length") == 1
    assert (
        page.ask("[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => /^on/.test(a.name)))")
        == []
    )
    assert page.ask("document.title") == title
    assert page.reported("Page.javascriptDialogOpening", "Runtime.exceptionThrown", "Log.entryAdded") == []
    asked = [event["request"]["url"] for event in page.reported("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in asked) == 1


def test_the_policy_stops_a_script_that_got_in_all_the_same(page, reports, tmp_path):
    broken = (
        (reports / "plain.html")
        .read_text(encoding="utf-8")
        .replace(
            "<main>", "<main><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
        )
    )
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    page.open(tmp_path / "broken.html")
    assert page.ask("document.title") != "owned"
    assert len(page.reported("Log.entryAdded")) >= 2  # the browser says what it refused


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["plain", "evil", "many"])
def test_no_width_scrolls_sideways_and_every_text_can_be_read(page, reports, name, width, scheme):
    page.open(reports / f"{name}.html", width=width, scheme=scheme)
    assert page.ask("document.scrollingElement.scrollWidth <= innerWidth")
    for color, ground, least in (("--ink", "--paper", 7), ("--muted", "--paper", 4.5), ("--accent", "--paper", 4.5)):
        assert _contrast(page, color, ground) >= least, (color, ground)
    for i in range(10):
        assert _contrast(page, f"--c{i}", "--raised") >= 3, f"colour {i} of the map"
    luminance = page.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + +b, 0)")
    assert (luminance > 600) == (scheme == "light")


def test_a_click_on_a_column_sorts_and_a_second_turns_it_round(page, reports):
    page.open(reports / "plain.html")
    shown = "[...document.querySelectorAll('#classes tbody tr td:nth-child(COLUMN)')].map(td => td.innerText)"
    labels = shown.replace("COLUMN", "1")
    page.click("#classes thead th:first-child button")
    assert page.ask(labels) == sorted(PLAIN)
    page.click("#classes thead th:first-child button")
    assert page.ask(labels) == sorted(PLAIN, reverse=True)
    page.click("#classes thead th:nth-child(4) button")
    scores = [float(text) for text in page.ask(shown.replace("COLUMN", "4"))]
    assert scores == sorted(scores)
    assert len(set(scores)) == len(PLAIN)
    assert page.ask("document.querySelector('#classes th:nth-child(4)').getAttribute('aria-sort')") == "ascending"
    assert page.ask("document.querySelectorAll('#classes [aria-sort]').length") == 1


def test_the_map_tells_a_clip_by_pointer_and_by_keyboard(page, reports):
    page.open(reports / "plain.html")
    says = "document.querySelector('#map-says').innerText"
    before = page.ask(says)
    page.click(".point")
    first = page.ask(says)
    assert first != before
    assert "is " in first
    assert "heard as " in first
    page.ask("document.querySelector('#map').focus()")
    walked = set()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowRight"):
        page.press(key)
        walked.add(page.ask(says))
    assert len(walked) >= 3


def test_a_class_can_be_brought_out_of_the_map(page, reports):
    dim = "document.querySelectorAll('.point.dim').length"
    page.open(reports / "plain.html")
    page.click("#map-classes button:nth-child(2)")
    assert page.ask(dim) == 9
    assert page.ask("[...document.querySelectorAll('.point:not(.dim)')].every(p => p.dataset.truth === 'dog')")
    page.click("#map-classes button:nth-child(2)")
    assert page.ask(dim) == 0
    page.open(reports / "many.html")
    page.ask(
        "(s => { s.value = [...s.options].find(o => o.text === 'class 7').value;"
        "s.dispatchEvent(new Event('change')) })(document.querySelector('#map-class'))"
    )
    assert page.ask(dim) == 117


def test_a_mistake_has_a_picture_and_plays(page, reports):
    page.open(reports / "plain.html")
    size = "(i => i.decode().then(() => [i.naturalWidth, i.naturalHeight]))(document.querySelector('.picture img'))"
    assert page.ask(size) == [201, 144]
    length = (
        "new Promise(done => { const a = document.querySelector('audio'); const say = () => done(a.duration);"
        "a.addEventListener('loadedmetadata', say); a.readyState ? say() : a.load() })"
    )
    assert page.ask(length) == pytest.approx(2.0, abs=0.01)
    page.click(".picture")
    assert page.ask("new Promise(r => setTimeout(() => r(document.querySelector('audio').currentTime), 200))") >= 0.95
    assert page.ask("document.querySelectorAll('.mistake audio').length") == 1  # the other has no waveform, and says so
    assert "nothing to see or hear" in page.ask("document.querySelectorAll('.mistake')[1].innerText")


def _contrast(page, color, ground):
    """The WCAG 2 contrast ratio of two of the page's colours."""
    values = page.ask(
        f"['{color}', '{ground}'].map(n => getComputedStyle(document.documentElement).getPropertyValue(n).trim())"
    )
    light = sorted(_luminance(value) for value in values)
    return (light[1] + 0.05) / (light[0] + 0.05)


def _luminance(text):
    channels = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
