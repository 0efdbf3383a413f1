"""What tests in a real browser share: what a page said and asked for, what axe-core finds."""

import json
import shutil
from importlib.resources import files

from selenium import webdriver

HERE = shutil.which("chromium") and shutil.which("chromedriver")
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
GRAVE = ("serious", "critical")


def started(profile):
    """Chromium, with its data in the folder *profile*; its user quits it."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def complaints(driver):
    """What the console got since it was last asked."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver):
    """The addresses that were asked for since it was last asked."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def scheme(driver, name):
    """Prefer light or dark, as the system would; "" is the system's own."""
    features = [{"name": "prefers-color-scheme", "value": name}] if name else []
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def window(driver, width, height=900):
    """That many CSS pixels: a real window cannot be as narrow as a phone."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def spills(driver):
    """Whether the page is wider than its window."""
    return driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth")


def faults(driver):
    """What axe-core finds serious or critical on the page as it is now, each with the elements."""
    driver.execute_script(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    # Without preload: it would ask for the style sheets by requests, which a page from a folder may not make.
    found = driver.execute_async_script("axe.run({preload: false}).then(arguments[0])")
    return {
        f"{one['impact']}: {one['id']}: {one['help']}": [node["html"][:200] for node in one["nodes"]]
        for one in found["violations"]
        if one["impact"] in GRAVE
    }
