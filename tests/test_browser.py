"""The report in a real browser, opened from its folder: it filters, sorts, links and fits, and asks no network."""

import shutil

import pytest
from in_browser import complaints, faults, requests, scheme, spills, window
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from small_run import small_run

from lossbench import report

PAGES = ["index.html", "conventions.html", "defects.html", "losses/huber.html", "losses/softmax_cross_entropy.html"]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The address of a report whose folder was copied after it was written."""
    store = small_run(tmp_path_factory.mktemp("run"))
    report.write(store)
    copy = tmp_path_factory.mktemp("copy") / "a copy, elsewhere"
    shutil.copytree(store.path, copy)
    shutil.rmtree(store.path)
    return (copy / "index.html").as_uri()


@pytest.fixture
def browser(watched, index):
    """A window at the index; what it logged and asked for is looked at afterwards."""
    watched.get(index)
    return watched


def shown(driver):
    """The losses and dtypes of the lines that can be seen, from top to bottom."""
    script = """return [...document.querySelectorAll("#losses tbody:not(.family) > tr")]
        .filter((line) => line.checkVisibility())
        .map((line) => line.cells[0].textContent + " " + line.cells[1].textContent)"""
    return driver.execute_script(script)


def field(driver, name):
    return driver.find_element(By.CSS_SELECTOR, f"#filters [name={name}]")


def choose(driver, name, value):
    """Chooses in a list; the address tells when the page has taken it."""
    Select(field(driver, name)).select_by_value(value)
    WebDriverWait(driver, 5).until(lambda _: f"{name}={value}" in driver.current_url)


def sorts(driver, column, times=1):
    """Clicks the header of that column; the table sorts a moment later, and then the address says so."""
    header = driver.find_elements(By.CSS_SELECTOR, "#losses thead th")[column]
    for _ in range(times):
        before = header.get_attribute("aria-sort")
        header.find_element(By.TAG_NAME, "button").click()
        WebDriverWait(driver, 5).until(lambda _, before=before: header.get_attribute("aria-sort") != before)
        state = f"sort={column}+{header.get_attribute('aria-sort')}"
        WebDriverWait(driver, 5).until(lambda _, state=state: state in driver.current_url)


def test_complaint_of_the_console_would_be_seen(chromium, index):
    chromium.get(index)
    chromium.execute_script("console.error('a complaint')")

    assert any("a complaint" in message for message in complaints(chromium))


def test_request_to_the_network_would_be_seen(chromium, index):
    chromium.get(index)
    chromium.execute_script("new Image().src = 'http://localhost:9/nothing.png'")

    WebDriverWait(chromium, 5).until(lambda driver: any(":9/nothing" in address for address in requests(driver)))
    complaints(chromium)


def test_matrix_is_filtered_by_text(browser):
    field(browser, "text").send_keys("softmax")

    assert shown(browser) == ["softmax_cross_entropy float32", "softmax_cross_entropy float64"]
    assert browser.find_element(By.ID, "count").text == "2 of 6 lines"


def test_matrix_is_filtered_by_dtype_family_and_verdict(browser):
    choose(browser, "dtype", "float64")
    choose(browser, "family", "regression")
    assert shown(browser) == ["hostile float64", "huber float64"]

    choose(browser, "verdict", "unsupported")

    assert shown(browser) == ["hostile float64"]


def test_framework_filter_hides_the_other_columns(browser):
    choose(browser, "framework", "jax")

    headers = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#losses thead th") if one.is_displayed()]
    assert headers == ["Loss", "Dtype", "jax compiled"]


def test_clear_shows_everything_again(browser):
    field(browser, "text").send_keys("no such loss")
    assert shown(browser) == []

    browser.find_element(By.CSS_SELECTOR, "#filters [type=reset]").click()

    WebDriverWait(browser, 5).until(lambda driver: len(shown(driver)) == 6)


def test_matrix_is_sorted_over_all_families_and_back(browser):
    grouped = shown(browser)

    sorts(browser, 0)
    assert [line.split()[0] for line in shown(browser)] == sorted(line.split()[0] for line in grouped)
    sorts(browser, 0)
    assert [line.split()[0] for line in shown(browser)] == sorted((line.split()[0] for line in grouped), reverse=True)

    field(browser, "grouped").click()
    assert shown(browser) == grouped


def test_verdicts_sort_by_severity(browser):
    sorts(browser, 3)

    script = """return [...document.querySelectorAll("#losses tbody:not(.family) > tr")]
        .map((line) => line.cells[3].dataset.sort).filter(Boolean).map(Number)"""
    severities = browser.execute_script(script)
    assert severities == sorted(severities)
    assert len(set(severities)) > 1


def test_address_brings_back_what_was_shown(browser):
    choose(browser, "dtype", "float64")
    choose(browser, "framework", "torch")
    sorts(browser, 0, times=2)
    address, before = browser.current_url, shown(browser)

    browser.get("about:blank")
    browser.get(address)
    WebDriverWait(browser, 5).until(lambda driver: shown(driver) == before)

    assert before == ["softmax_cross_entropy float64", "huber float64", "hostile float64"]
    assert Select(field(browser, "framework")).first_selected_option.text == "torch"
    assert browser.current_url == address


def test_tile_shows_the_cells_that_it_counts(browser):
    tile = browser.find_element(By.CSS_SELECTOR, ".tiles [href='#verdict=unsupported']")
    tile.click()

    WebDriverWait(browser, 5).until(lambda driver: len(shown(driver)) == 2)
    assert shown(browser) == ["hostile float32", "hostile float64"]


def test_link_leads_to_the_loss_and_back(browser):
    browser.find_element(By.LINK_TEXT, "huber").click()
    assert browser.find_element(By.TAG_NAME, "h1").text == "Huber loss huber"
    assert browser.find_element(By.CSS_SELECTOR, ".formula math").size["height"] > 10
    assert browser.find_element(By.CSS_SELECTOR, "figure svg text").text

    browser.find_element(By.CSS_SELECTOR, ".trail a").click()
    assert browser.find_element(By.ID, "losses")


def test_markup_of_a_spec_is_text(browser):
    browser.find_element(By.LINK_TEXT, "hostile").click()

    assert "<script>" in browser.find_element(By.TAG_NAME, "h1").text
    assert browser.title.startswith("Hostile <script>")


def test_code_can_be_copied(browser):
    browser.find_element(By.LINK_TEXT, "huber").click()
    button = browser.find_element(By.CSS_SELECTOR, ".copyable button")
    button.click()

    WebDriverWait(browser, 5).until(lambda _: button.text in ("Copied", "Selected"))


def test_keyboard_alone_reaches_filter_sort_and_loss(browser):
    seen = []
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        seen.append(active.get_attribute("name") or active.text)
        if active.text == "Loss":
            active.send_keys(Keys.ENTER)
            WebDriverWait(browser, 5).until(lambda driver: "sort=0+ascending" in driver.current_url)
        if active.text == "hostile":
            break
    active.send_keys(Keys.ENTER)

    WebDriverWait(browser, 5).until(lambda driver: driver.current_url.endswith("hostile.html"))
    assert seen[0] == "Skip to the content"
    assert "text" in seen


@pytest.mark.parametrize("width", [360, 1400, 3840])
@pytest.mark.parametrize("page", PAGES)
def test_page_fits_the_window(browser, index, page, width):
    window(browser, width)
    browser.get(index.replace("index.html", page))

    assert not spills(browser)


def test_dark_scheme_changes_the_colours_of_page_and_pictures(browser):
    script = """const one = (query) => document.querySelector(query);
        return [getComputedStyle(document.body).backgroundColor, getComputedStyle(one("figure svg text")).fill]"""
    browser.find_element(By.LINK_TEXT, "huber").click()
    light = browser.execute_script(script)
    scheme(browser, "dark")

    changed = browser.execute_script(script)

    assert all(one != other for one, other in zip(light, changed, strict=True))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing_serious(browser, index, page, theme):
    scheme(browser, theme)
    browser.get(index.replace("index.html", page))

    assert faults(browser) == {}


def test_axe_can_find(browser):
    browser.execute_script("document.body.append(new Image())")

    assert any("alternative text" in fault for fault in faults(browser))


def test_page_says_everything_without_scripts(chromium, index):
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    chromium.get(index)

    assert len(chromium.find_elements(By.CSS_SELECTOR, "#losses td.box")) == 12
    assert not chromium.find_element(By.ID, "filters").is_displayed()
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_defects_are_filtered_and_the_address_keeps_it(browser, index):
    browser.get(index.replace("index.html", "defects.html") + "#framework=jax")
    lines = browser.find_elements(By.CSS_SELECTOR, "#defects tbody tr")
    seen = [line for line in lines if line.is_displayed()]

    assert 0 < len(seen) < len(lines)
    assert all(line.get_attribute("data-framework") == "jax" for line in seen)

    browser.find_element(By.CSS_SELECTOR, "#filter [type=reset]").click()

    WebDriverWait(browser, 5).until(lambda _: all(line.is_displayed() for line in lines))
    assert "framework" not in browser.current_url


def test_conventions_are_filtered_by_text(browser, index):
    browser.get(index.replace("index.html", "conventions.html"))
    lines = browser.find_elements(By.CSS_SELECTOR, "table.filtered tbody tr")
    sections = browser.find_elements(By.CSS_SELECTOR, "main > section")
    before = len([section for section in sections if section.is_displayed()])

    browser.find_element(By.CSS_SELECTOR, "#filter [name=text]").send_keys("huber")

    WebDriverWait(browser, 5).until(lambda driver: "text=huber" in driver.current_url)
    seen = [line for line in lines if line.is_displayed()]
    assert 0 < len(seen) < len(lines)
    assert all("huber" in line.get_attribute("data-search") for line in seen)
    assert 0 < len([section for section in sections if section.is_displayed()]) < before


def test_filter_opens_the_fold_in_which_it_finds_something(browser, index):
    browser.get(index.replace("index.html", "defects.html") + "#kind=convention")
    folds = browser.find_element(By.CSS_SELECTOR, "#choices details")
    assert folds.get_attribute("open")
    assert not browser.find_element(By.ID, "declared").is_displayed()

    browser.find_element(By.CSS_SELECTOR, "#filter [type=reset]").click()

    WebDriverWait(browser, 5).until(lambda _: browser.find_element(By.ID, "declared").is_displayed())
    assert not folds.get_attribute("open")


def test_script_of_a_defect_opens(browser, index):
    browser.get(index.replace("index.html", "defects.html"))
    opens = browser.find_element(By.CLASS_NAME, "opens")
    sheet = browser.find_element(By.ID, opens.get_attribute("popovertarget"))
    assert not sheet.is_displayed()

    opens.click()

    assert sheet.is_displayed()
    assert "import" in sheet.find_element(By.TAG_NAME, "code").text
