"""The browser that the tests of pages share."""

import pytest
from in_browser import HERE, complaints, requests, scheme, started


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    if not HERE:
        pytest.skip("needs chromium and chromedriver")
    driver = started(tmp_path_factory.mktemp("chromium"))
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
