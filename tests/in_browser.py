"""What tests in a real browser share: what a page said and asked for, what axe-core finds."""

import json
from importlib.resources import files

GRAVE = ("serious", "critical")


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
