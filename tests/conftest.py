"""The browser that the tests of pages share."""

import shutil

import pytest
from in_browser import complaints, requests, scheme
from selenium import webdriver

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def watched(chromium):
    """The browser at an empty page; the page that a test opens may neither complain nor ask the network."""
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    scheme(chromium, "")
    chromium.set_window_size(1400, 1000)
    chromium.get("about:blank")
    complaints(chromium), requests(chromium)
    yield chromium
    assert complaints(chromium) == []
    asked = requests(chromium)
    assert asked, "the log of requests is empty: the check below could not fail"
    assert [address for address in asked if not address.startswith(("file://", "data:", "about:", "blob:"))] == []
