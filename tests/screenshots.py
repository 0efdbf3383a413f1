"""The pictures of README.md, from the report of a real run: `make screenshots RUN=reports/...`."""

import base64
import sys
import tempfile
from pathlib import Path

from in_browser import scheme, started, window

PICTURES = Path(__file__).parent.parent / "reports"
PAGES = {  # name: page, scheme, width, height
    "light": ("index.html", "light", 1440, 900),
    "dark": ("losses/sigmoid_cross_entropy.html#accuracy", "dark", 1440, 900),
    "phone": ("index.html", "light", 360, 900),
}


def main(run: Path) -> None:
    """Write one picture for each of `PAGES`."""
    with tempfile.TemporaryDirectory() as profile:
        driver = started(profile)
        try:
            for name, (page, theme, width, height) in PAGES.items():
                scheme(driver, theme)
                window(driver, width, height)
                path, _, anchor = page.partition("#")
                driver.get(f"{(run / path).resolve().as_uri()}#{anchor}")
                shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": False})
                (PICTURES / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
                print(PICTURES / f"{name}.png")
        finally:
            driver.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
