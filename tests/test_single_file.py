"""The report in one file: every page is in it and every link leads to one of them, in a real browser too."""

import base64
import gzip
import re

import pytest
from in_browser import faults, scheme
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait
from small_run import ATTACK, small_run
from typer.testing import CliRunner

from lossbench import report
from lossbench.cli import app
from lossbench.report import single


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    store = small_run(tmp_path_factory.mktemp("run"))
    report.write(store)
    return store.path


@pytest.fixture(scope="module")
def file(folder, tmp_path_factory):
    """The file, alone in a folder whose name has to be quoted in an address."""
    home = tmp_path_factory.mktemp("mail") / "from a letter, 100 %"
    home.mkdir()
    return single.write(folder, home / "the report.html")


def pages(file):
    """The text of each page in the file, by its address."""
    parts = re.findall(r'<script type="text/plain" id="([^"]*)">([^<]*)</script>', file.read_text(encoding="utf-8"))
    return {name: gzip.decompress(base64.b64decode(text)).decode() for name, text in parts if name.endswith(".html")}


def test_every_page_of_the_report_is_in_it(folder, file):
    written = {str(path.relative_to(folder)) for path in folder.rglob("*.html")}

    assert written == set(pages(file))


def test_every_link_leads_to_a_page_in_it_or_to_the_web(file):
    found = pages(file)
    for text in found.values():
        for address in re.findall(r'<a\b[^>]*?\shref="([^"]*)"', text):
            page, _, _ = address.removeprefix("?").partition("#")
            assert address.startswith(("#", "https://")) or (address[0] == "?" and page in found), address


def test_what_is_left_out_says_so(file):
    assert 'title="records.jsonl: in the folder of the report, not in this file"' in "".join(pages(file).values())


def test_pages_of_single_records_are_left_out_where_it_would_be_too_heavy(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(single, "MOST", 0)

    found = pages(single.write(folder, tmp_path / "light.html"))

    assert "losses/huber.html" in found
    assert not [name for name in found if name.endswith(".records.html")]
    assert 'title="losses/huber.records.html: in the folder' in found["losses/huber.html"]


def test_the_same_report_gives_the_same_file(folder, file, tmp_path):
    assert single.write(folder, tmp_path / "again.html").read_bytes() == file.read_bytes()


def test_markup_of_specs_stays_text_in_it(file):
    assert ATTACK not in file.read_text(encoding="utf-8")
    assert not [name for name, text in pages(file).items() if ATTACK in text]


def test_file_without_the_option_is_refused(folder, tmp_path):
    done = CliRunner().invoke(app, ["report", str(folder), str(tmp_path / "one.html")])

    assert "add --single-file" in str(done.exception)


def test_file_that_cannot_be_written_is_named(folder, tmp_path):
    done = CliRunner().invoke(app, ["report", str(folder), str(tmp_path / "no" / "one.html"), "--single-file"])

    assert f"{tmp_path / 'no' / 'one.html'}: the report cannot be written" in str(done.exception)


@pytest.fixture
def browser(watched, file):
    """A window at the file; what it logged and asked for is looked at afterwards."""
    watched.get(file.as_uri())
    until(watched, "#losses")
    return watched


def until(driver, query):
    return WebDriverWait(driver, 10).until(lambda _: driver.find_elements(By.CSS_SELECTOR, query))[0]


def seen(driver, query):
    return [one for one in driver.find_elements(By.CSS_SELECTOR, query) if one.is_displayed()]


def test_click_leads_to_a_loss_and_back(browser):
    browser.find_element(By.LINK_TEXT, "huber").click()
    assert until(browser, "h1 code").text == "huber"
    assert until(browser, ".formula math").size["height"] > 10
    assert browser.find_element(By.CSS_SELECTOR, "figure svg text").text

    browser.back()

    assert until(browser, "#losses").is_displayed()


def test_address_keeps_page_and_filter(browser, file):
    browser.get(file.as_uri() + "?defects.html#framework=torch")
    until(browser, "#defects tbody tr")
    WebDriverWait(browser, 10).until(lambda _: {"torch"} == frameworks(browser))

    Select(browser.find_element(By.CSS_SELECTOR, "#filter [name=framework]")).select_by_value("")
    WebDriverWait(browser, 10).until(lambda _: "framework" not in browser.current_url)

    assert browser.current_url.startswith(file.as_uri() + "?defects.html")


def frameworks(driver):
    return {line.get_attribute("data-framework") for line in seen(driver, "#defects tbody tr")}


def test_address_leads_to_a_place_on_a_page(browser, file):
    browser.get(file.as_uri() + "?losses/huber.html#time")
    until(browser, "#time")

    WebDriverWait(browser, 10).until(lambda _: abs(browser.execute_script(PLACE)) < 60)
    assert browser.execute_script("return document.querySelector(':target').id") == "time"


PLACE = "return document.getElementById('time').getBoundingClientRect().top"


def test_theme_goes_from_page_to_page(browser):
    scheme(browser, "light")
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(paper)
    Select(until(browser, "#theme")).select_by_visible_text("dark")
    dark = browser.execute_script(paper)

    browser.find_element(By.LINK_TEXT, "huber").click()
    until(browser, "h1 code")
    there = browser.execute_script(paper)

    Select(until(browser, "#theme")).select_by_visible_text("auto")
    scheme(browser, "")
    assert light != dark == there


def test_index_can_be_read_without_scripts(browser, file):
    parsed = "const page = new DOMParser().parseFromString(arguments[0], 'text/html');"  # as where scripts are off
    queries = "['#losses [data-verdict]', '#losses tbody a[href]']"
    count = f"{parsed} return {queries}.map((query) => page.querySelectorAll(query).length)"

    assert browser.execute_script(count, file.read_text(encoding="utf-8")) == [12, 0]


def test_it_is_printed_as_it_is_seen(browser):
    printed = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]

    assert len(base64.b64decode(printed)) > 20_000


@pytest.mark.parametrize("page", ["index.html", "losses/huber.html"])
def test_nothing_in_it_is_hard_to_reach(browser, file, page):
    browser.get(f"{file.as_uri()}?{page}")
    until(browser, "#main")

    assert faults(browser) == {}
