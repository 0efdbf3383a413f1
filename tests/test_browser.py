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
        .map((line) => line.cells[0].textContent)"""
    return driver.execute_script(script)


def field(driver, name):
    return driver.find_element(By.CSS_SELECTOR, f"#filter [name={name}]")


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
        state = f"sort=0+{column}+{header.get_attribute('aria-sort')}"
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
    assert headers == ["Loss", "jax\ncompiled"]


def test_mode_filter_hides_the_columns_of_other_modes(browser):
    choose(browser, "mode", "eager")
    headers = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#losses thead th") if one.is_displayed()]
    assert headers == ["Loss", "torch\neager"]

    choose(browser, "verdict", "unsupported")

    assert shown(browser) == [], "jax, compiled, is the one that does not support a loss"


def test_frameworks_that_differ_are_told_by_mode(browser):
    field(browser, "differs").click()
    WebDriverWait(browser, 5).until(lambda driver: "differs=yes" in driver.current_url)
    assert 0 < len(shown(browser)) < 6

    choose(browser, "mode", "eager")

    assert shown(browser) == [], "only one framework is there that runs eagerly"


def test_clear_shows_everything_again(browser):
    field(browser, "text").send_keys("no such loss")
    assert shown(browser) == []

    browser.find_element(By.CSS_SELECTOR, "#filter [type=reset]").click()

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
    sorts(browser, 2)

    script = """return [...document.querySelectorAll("#losses tbody:not(.family) > tr")]
        .map((line) => line.cells[2].dataset.sort).filter(Boolean).map(Number)"""
    severities = browser.execute_script(script)
    assert severities == sorted(severities)
    assert len(set(severities)) > 1


def test_address_brings_back_what_was_shown(browser):
    choose(browser, "dtype", "float64")
    choose(browser, "framework", "torch")
    choose(browser, "mode", "eager")
    sorts(browser, 0, times=2)
    address, before = browser.current_url, shown(browser)

    browser.get("about:blank")
    browser.get(address)
    WebDriverWait(browser, 5).until(lambda driver: shown(driver) == before)

    assert before == ["softmax_cross_entropy float64", "huber float64", "hostile float64"]
    assert Select(field(browser, "framework")).first_selected_option.text == "torch"
    assert Select(field(browser, "mode")).first_selected_option.text == "eager"
    assert not field(browser, "grouped").is_selected()
    header = browser.find_element(By.CSS_SELECTOR, "#losses thead th")
    assert header.get_attribute("aria-sort") == "descending"
    assert browser.current_url == address


def test_link_to_another_view_forgets_the_one_before(browser, index):
    grouped = shown(browser)
    sorts(browser, 1)
    choose(browser, "dtype", "float64")

    browser.execute_script("location.hash = '#family=regression'")

    WebDriverWait(browser, 5).until(lambda driver: len(shown(driver)) == 4)
    assert shown(browser) == [line for line in grouped if line.startswith(("hostile", "huber"))]
    assert browser.find_elements(By.CSS_SELECTOR, "#losses [aria-sort]") == []
    assert browser.current_url == f"{index}#family=regression"


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

    browser.find_element(By.LINK_TEXT, "Index").click()
    assert browser.find_element(By.ID, "losses")


def test_every_page_leads_to_every_other_and_says_which_it_is(browser, index):
    links = "return [...document.querySelectorAll('nav.pages a')].map((link) => [link.textContent, link.href])"
    first = browser.execute_script(links)
    assert {"Index", "Defects", "Conventions"} <= {title for title, _ in first}

    for page in PAGES:
        browser.get(index.replace("index.html", page))
        current = browser.find_elements(By.CSS_SELECTOR, "[aria-current=page]")

        assert browser.execute_script(links) == first
        assert [one.get_attribute("href") for one in current] == (
            [] if page.startswith("losses/") else [index.replace("index.html", page)]
        )


def test_anchor_opens_the_fold_that_it_is_in(browser):
    reading = browser.find_element(By.ID, "reading")
    assert not reading.is_displayed()

    browser.find_element(By.LINK_TEXT, "ulps").click()

    WebDriverWait(browser, 5).until(lambda _: reading.is_displayed())
    assert len(shown(browser)) == 6


def test_markup_of_a_spec_is_text(browser):
    browser.find_element(By.LINK_TEXT, "hostile").click()

    assert "<script>" in browser.find_element(By.TAG_NAME, "h1").text
    assert browser.title.startswith("Hostile <script>")


def test_code_can_be_copied(browser):
    browser.find_element(By.LINK_TEXT, "huber").click()
    button = browser.find_element(By.CSS_SELECTOR, ".copyable button")
    button.click()

    WebDriverWait(browser, 5).until(lambda _: button.text in ("Copied", "Selected"))


def test_keyboard_alone_reaches_page_theme_filter_sort_fold_and_loss(browser):
    seen, unframed = [], []
    for _ in range(100):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        if active.tag_name == "body":  # behind the last one
            break
        name = active.get_attribute("name") or active.get_attribute("id") or active.text.partition("\n")[0]
        seen.append(name)
        if browser.execute_script("return getComputedStyle(arguments[0]).outlineStyle", active) == "none":
            unframed.append(name)
        if name == "Loss":
            active.send_keys(Keys.ENTER)
            WebDriverWait(browser, 5).until(lambda driver: "sort=0+0+ascending" in driver.current_url)
        if name == "Coverage":
            active.send_keys(Keys.ENTER)
            assert browser.find_element(By.ID, "coverage").is_displayed()

    assert seen[0] == "Skip to the content"
    order = ["Defects", "theme", "text", "mode", "differs", "Loss", "hostile", "Coverage"]
    assert [name for name in dict.fromkeys(seen) if name in order] == order
    assert unframed == [], "the focus can always be seen"

    browser.find_element(By.LINK_TEXT, "hostile").send_keys(Keys.ENTER)

    WebDriverWait(browser, 5).until(lambda driver: driver.current_url.endswith("hostile.html"))


def test_skip_link_leads_past_the_bar(browser):
    browser.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    browser.switch_to.active_element.send_keys(Keys.TAB)

    within = "return document.getElementById('main').contains(document.activeElement)"
    assert browser.execute_script(within)


def ground(driver):
    """The colour of the page."""
    return driver.execute_script("return getComputedStyle(document.body).backgroundColor")


def test_theme_is_kept_over_pages_and_reloads(browser, index):
    scheme(browser, "light")
    light = ground(browser)
    theme = Select(browser.find_element(By.ID, "theme"))
    assert theme.first_selected_option.text == "auto"

    try:
        theme.select_by_visible_text("dark")
        dark = ground(browser)
        assert dark != light
        for page in PAGES:
            browser.get(index.replace("index.html", page))
            assert (ground(browser), browser.find_element(By.ID, "theme").get_attribute("value")) == (dark, "dark")
        scheme(browser, "dark")
        Select(browser.find_element(By.ID, "theme")).select_by_visible_text("light")
        browser.refresh()
        assert ground(browser) == light
    finally:
        browser.execute_script("localStorage.clear()")
    browser.refresh()
    assert ground(browser) == dark, "without a choice the system's"


def test_theme_is_set_before_anything_is_painted(browser, index):
    browser.execute_script("localStorage.setItem('lossbench-theme', 'dark')")
    try:
        script = "addEventListener('DOMContentLoaded', () => (window.early = window.seen)); window.seen = [];" + (
            "new MutationObserver(() => seen.push([document.documentElement.dataset.theme, !!document.body]))"
            ".observe(document, {childList: true, subtree: true, attributes: true})"
        )
        added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        browser.get(index)
        seen = browser.execute_script("return window.seen")
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    finally:
        browser.execute_script("localStorage.clear()")
    assert seen
    assert all(theme == "dark" for theme, body in seen if body)


@pytest.mark.parametrize("width", [360, 1400, 3840])
@pytest.mark.parametrize("page", PAGES)
def test_page_fits_the_window(browser, index, page, width):
    window(browser, width)
    browser.get(index.replace("index.html", page))

    assert not spills(browser)


def widened(driver, targets=12):
    """The matrix with as many targets, those of the run again and again."""
    script = """for (const row of document.querySelectorAll("#losses tr:has(th + *)")) {
        const boxes = [...row.cells].slice(1);
        for (let at = boxes.length; at < arguments[0]; at++) row.append(boxes[at % boxes.length].cloneNode(true));
    }"""
    driver.execute_script(script, targets)


def test_matrix_is_on_the_first_screen(browser):
    window(browser, 1440)

    lines = browser.find_elements(By.CSS_SELECTOR, "#losses tbody:not(.family) > tr")
    tops = [line.rect["y"] for line in lines]

    assert tops[0] < 450
    height = (tops[-1] - tops[0]) / (len(tops) - 1)
    assert (900 - tops[0]) / height >= 8


def test_loss_stays_beside_its_boxes_on_a_phone(browser):
    window(browser, 360, 740)
    widened(browser)
    script = """const box = document.querySelector("#matrix .scroll");
        box.scrollLeft = arguments[0];
        const left = document.querySelector("#losses tbody:not(.family) th").getBoundingClientRect().left;
        return [box.scrollLeft, left - box.getBoundingClientRect().left,
            document.documentElement.scrollWidth - window.innerWidth]"""

    at_rest, scrolled = (browser.execute_script(script, left) for left in (0, 400))

    assert scrolled[0] == 400
    assert at_rest[1] == scrolled[1] == 0
    assert scrolled[2] <= 0


def test_print_has_every_column_in_light_colours_and_no_controls(browser):
    scheme(browser, "dark")
    window(browser, 1047)  # what is within the margins of A4, landscape
    widened(browser)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})

    page = browser.execute_script("return document.documentElement.scrollWidth")
    columns = [head.rect for head in browser.find_elements(By.CSS_SELECTOR, "#losses thead th")]
    hidden = [not browser.find_element(By.CSS_SELECTOR, one).is_displayed() for one in ("#filter", ".bar", ".skip")]
    paper = ground(browser)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})

    assert len(columns) == 13
    assert page <= 1047
    assert max(one["x"] + one["width"] for one in columns) < 1048
    assert min(one["width"] for one in columns) > 50
    assert all(hidden)
    assert paper == "rgb(255, 255, 255)"


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
    try:
        chromium.get(index)

        assert len(chromium.find_elements(By.CSS_SELECTOR, "#losses td[data-verdict]")) == 12
        assert not chromium.find_element(By.ID, "filter").is_displayed()
        assert not chromium.find_element(By.ID, "theme").is_displayed()
    finally:
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
