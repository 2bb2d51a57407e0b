"""Take a picture of a page: `python scripts/screenshot.py URL_OR_FILE OUT.png --width 380`."""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# A page that polls its server is never idle; its charts are drawn by then.
SETTLE_MS = 2_000
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """The browser's path. Raises FileNotFoundError where it is not installed."""
    found = shutil.which("chromium")
    if found is None:
        raise FileNotFoundError("chromium is not installed; run: apt-get install -y chromium")
    return found


def screenshot(
    address: str, out: Path, *, width: int, height: int, dark: bool, full: bool, text: str
) -> None:
    """Write a PNG of `address`; raises FileNotFoundError where Chromium is not installed."""
    path = chromium()
    out.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        page.goto(address, wait_until="load")
        if text:
            page.get_by_text(text).first.wait_for(timeout=30_000)
            page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=out, full_page=full)
        browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Take a picture of a page with Chromium.")
    parser.add_argument("address", help="an address, or a file on this machine")
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true", help="ask for the dark colours")
    parser.add_argument("--full", action="store_true", help="the whole page, not the window alone")
    parser.add_argument("--text", default="", help="wait until this text is on the page")
    args = parser.parse_args()
    address = args.address
    if "://" not in address:
        file = Path(address).resolve()
        if not file.is_file():
            print(f"error: {address} is neither an address nor a file", file=sys.stderr)
            return 3
        address = file.as_uri()
    try:
        screenshot(
            address,
            args.out,
            width=args.width,
            height=args.height,
            dark=args.dark,
            full=args.full,
            text=args.text,
        )
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
