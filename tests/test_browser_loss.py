"""The page of a loss in a real browser: ports are switched, numbers lead to their records, pictures have tables."""

import pytest
from in_browser import faults, scheme, spills, window
from selenium.webdriver.common.by import By
from small_run import small_run

from lossbench import report


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """The folder of the pages of losses."""
    store = small_run(tmp_path_factory.mktemp("run"))
    report.write(store)
    return store.path / "losses"


@pytest.fixture
def huber(watched, losses):
    """A window at the page of a loss."""
    watched.get((losses / "huber.html").as_uri())
    return watched


def ports(driver):
    """The source and the target of each port that can be seen."""
    return driver.execute_script(
        """return [...document.querySelectorAll(".ports .to")].filter((one) => one.checkVisibility())
        .map((one) => [one.closest(".from").dataset.from, one.dataset.to])"""
    )


def test_one_port_is_shown_and_the_reader_chooses_which(huber):
    assert ports(huber) == [["torch", "tensorflow"]]

    huber.find_element(By.ID, "from-jax").click()
    huber.find_element(By.ID, "to-torch").click()

    assert ports(huber) == [["jax", "torch"]]
    shown = [one.text for one in huber.find_elements(By.CSS_SELECTOR, ".ports code") if one.is_displayed()]
    assert any("optax.losses.huber_loss" in text for text in shown)
    assert any("F.huber_loss" in text for text in shown)


def test_port_to_itself_asks_for_another(huber):
    huber.find_element(By.ID, "from-tensorflow").click()

    assert ports(huber) == []
    assert [one.text for one in huber.find_elements(By.CSS_SELECTOR, ".same") if one.is_displayed()]


def test_number_leads_to_its_record_and_script_opened(huber):
    link = huber.find_element(By.CSS_SELECTOR, "#accuracy td.number a")
    key = link.get_attribute("href").partition("#")[2]
    huber.execute_script("arguments[0].click()", link)

    assert "huber.records.html" in huber.current_url
    record = huber.find_element(By.ID, key)
    assert record.is_displayed()
    assert "from lossbench.again import again" in record.text
    assert '"type":"output"' in record.text
    others = huber.find_elements(By.CSS_SELECTOR, ".record > div")
    assert [one.get_attribute("id") for one in others if one.is_displayed()] == [key]


def test_accuracy_against_time_has_its_picture_and_its_table(huber):
    heading = huber.find_element(By.ID, "pareto")
    picture = heading.find_element(By.XPATH, "following::figure[1]")
    table = heading.find_element(By.XPATH, "following::details[1]")

    assert picture.find_element(By.CSS_SELECTOR, "svg[role=img]").size["height"] > 100
    table.find_element(By.TAG_NAME, "summary").click()
    assert {row.find_element(By.TAG_NAME, "th").text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")} == {
        *("torch:eager:cpu", "jax:compiled:cpu"),
    }


def test_contents_stand_beside_a_wide_page_and_above_a_narrow_one(huber):
    window(huber, 1440)
    wide = huber.find_element(By.CSS_SELECTOR, ".beside").rect
    window(huber, 360)
    narrow = huber.find_element(By.CSS_SELECTOR, ".beside").rect

    assert wide["width"] < 300
    assert narrow["width"] > 300
    assert not spills(huber)


@pytest.mark.parametrize("name", ["huber.html", "huber.records.html", "hostile.html", "hostile.records.html"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing_serious(watched, losses, name, colours):
    scheme(watched, colours)
    watched.get((losses / name).as_uri())
    for one in watched.find_elements(By.CSS_SELECTOR, "details")[:4]:
        watched.execute_script("arguments[0].open = true", one)

    assert faults(watched) == {}
