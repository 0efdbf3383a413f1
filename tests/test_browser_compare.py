"""The pages of a comparison, of the method and of downloads in a real browser, opened from their folder."""

import shutil
from urllib.parse import unquote

import pytest
from in_browser import faults, scheme, spills, window
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from two_runs import two_runs

from lossbench import report
from lossbench.comparing import whole
from lossbench.report import two

PAGES = ("compare.html", "method.html", "environment.html", "downloads.html")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return two_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    """A report that was copied after it was written."""
    report.write(runs[1])
    return shutil.copytree(runs[1].path, tmp_path_factory.mktemp("copy") / "a copy, elsewhere")


@pytest.fixture
def compare(watched, folder):
    """The browser at the page of the comparison."""
    watched.get((folder / "compare.html").as_uri())
    return watched


def changes(driver):
    """What the lines that are not filtered away are called."""
    script = """return [...document.querySelectorAll("table.filtered > tbody > tr:not([hidden])")]
        .map((line) => line.dataset.change)"""
    return driver.execute_script(script)


def choose(driver, name, value):
    Select(driver.find_element(By.CSS_SELECTOR, f"#filter [name={name}]")).select_by_value(value)
    WebDriverWait(driver, 5).until(lambda _: f"{name}=" in driver.current_url)


def test_lines_are_filtered_and_the_address_shows_the_same_again(compare):
    everything = changes(compare)
    choose(compare, "sure", "yes")
    choose(compare, "loss", "huber")
    found, address = changes(compare), compare.current_url

    assert sorted(set(found)) == ["better", "slower", "worse"]
    assert 0 < len(found) < len(everything)
    assert "sure=yes" in address
    assert "loss=huber" in address
    compare.get("about:blank")
    compare.get(address)
    assert changes(compare) == found


def test_kinds_are_told_apart(compare):
    choose(compare, "kind", "removed")

    assert changes(compare) == ["not measured"]
    compare.find_element(By.CSS_SELECTOR, "#filter [type=reset]").click()
    WebDriverWait(compare, 5).until(lambda _: len(changes(compare)) > 1)


def test_the_count_on_the_index_leads_to_as_many_lines(watched, folder):
    watched.get((folder / "index.html").as_uri())
    link = watched.find_element(By.CSS_SELECTOR, 'a[href="compare.html#change=slower"]')
    count = int(link.find_element(By.TAG_NAME, "b").text)
    link.click()
    WebDriverWait(watched, 5).until(lambda _: "compare.html" in watched.current_url)

    assert changes(watched) == ["slower"] * count


def test_unchanged_lines_unfold_where_they_are_asked_for(compare):
    fold = compare.find_element(By.CSS_SELECTOR, "details.folds")

    assert not fold.get_attribute("open")
    choose(compare, "kind", "unchanged")
    assert fold.get_attribute("open")
    assert set(changes(compare)) == {"same"}


def test_a_script_opens_by_keyboard_and_closes_again(compare):
    opener = compare.find_element(By.CSS_SELECTOR, ".opens")
    opener.send_keys(Keys.ENTER)
    sheet = compare.find_element(By.ID, opener.get_attribute("popovertarget"))

    assert sheet.is_displayed()
    assert "import torch" in sheet.text
    compare.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not sheet.is_displayed()


def test_words_of_frameworks_do_not_run(compare):
    assert compare.title.startswith("Compare")
    assert "<script>document.title='broken out'</script>" in compare.find_element(By.ID, "changes").text


def test_the_one_file_needs_nothing_beside_it(watched, runs, tmp_path):
    page = two.write(whole.compare(*runs), tmp_path / "one.html")
    watched.get(page.as_uri())
    choose(watched, "change", "worse")

    assert changes(watched) == ["worse"]
    assert unquote(watched.current_url).endswith("#change=worse")
    assert faults(watched) == {}


@pytest.mark.parametrize("light", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_pages_are_for_everyone(watched, folder, name, light):
    scheme(watched, light)
    watched.get((folder / name).as_uri())
    for fold in watched.find_elements(By.CSS_SELECTOR, "main details"):
        watched.execute_script("arguments[0].open = true", fold)

    assert faults(watched) == {}


@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_a_phone(watched, folder, name):
    window(watched, 360)
    watched.get((folder / name).as_uri())

    assert not spills(watched)
