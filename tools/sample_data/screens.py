"""Pictures of screens and papers: receipts, bank apps, checkout, tracking, log-in, dialogs. Each returns an image."""

from __future__ import annotations

import random

from canvas import GREEN, GREY, ITEMS, RED, Screen, date, font, money, order_number, photographed, priced
from PIL import Image, ImageDraw


def receipt(rng: random.Random, kind: str = "plain") -> Image.Image:
    """A paper receipt. kind: plain, double (paid twice), refund (refund pending), voucher (no discount given)."""
    width, height = rng.choice(((236, 340), (250, 360), (228, 370)))
    image = Image.new("RGB", (width, height), rng.choice(((250, 249, 244), (244, 244, 248), (240, 236, 222))))
    draw = ImageDraw.Draw(image)
    face, bold = font(14, family="SansMono"), font(15, bold=True, family="SansMono")
    y = rng.randint(10, 22)
    draw.text((width // 2 - 45, y), "MARLOWICK", font=bold, fill=(20, 20, 20))
    draw.text((14, y + 20), f"{order_number(rng)} {date(rng)}", font=face, fill=(50, 50, 50))
    y += 46

    def line(left: str, right: str, fill: tuple[int, int, int] = (30, 30, 30)) -> None:
        nonlocal y
        draw.text((14, y), left, font=face, fill=fill)
        draw.text((width - 14 - draw.textlength(right, font=face), y), right, font=face, fill=fill)
        y += 20

    rows, total = priced(rng, 3)
    for item, price in rows:
        line(item, price)
    draw.line((12, y + 2, width - 12, y + 2), fill=(90, 90, 90))
    y += 8
    if kind == "voucher":
        line(rng.choice(("Voucher", "Discount", "Promo code")), "0.00")
    line("TOTAL", total)
    if kind == "double":
        line("CARD PAYMENT", total)
        line("CARD PAYMENT", total)
    elif kind == "refund":
        line("RETURNED", "-" + total)
        line("REFUND", "PENDING")
    else:
        line(rng.choice(("CARD", "CASH", "CARD PAYMENT")), total)
    y += 8
    for x in range(16, width - 16, 3):  # a bar code
        if rng.random() < 0.55:
            draw.rectangle((x, y, x + rng.choice((0, 1)), min(y + 30, height - 8)), fill=(20, 20, 20))
    return photographed(rng, image)


def bank(rng: random.Random, kind: str = "plain") -> Image.Image:
    """A bank app's list. kind: plain, double, refund (nothing came back), declined."""
    screen = Screen(rng, rng.choice(("My account", "Transactions", "Current account", "Card ...4417")))
    screen.row("Balance", money(rng), bold=True)
    screen.space()
    amount = "-" + money(rng)
    others = rng.sample(("Grocer", "Bakery", "Rail fare", "Phone bill", "Gym", "Rent", "Pharmacy", "Cinema"), 4)
    rows = [(name, "-" + money(rng)) for name in others[: rng.randint(2, 3)]]
    if kind == "double":
        rows[1:1] = [("MARLOWICK", amount), ("MARLOWICK", amount)]
    elif kind == "refund":
        rows.insert(1, ("Marlowick refund", "pending"))
    elif kind == "declined":
        rows.insert(0, ("MARLOWICK", "declined"))
    else:
        rows.insert(rng.randint(0, 2), ("MARLOWICK", amount))
    for left, right in rows:
        screen.row(left, right, fill=RED if right == "declined" else GREY if right == "pending" else None)
    return screen.image


def checkout(rng: random.Random, kind: str = "plain") -> Image.Image:
    """The basket. kind: plain, declined, code (code refused), gift (gift card field)."""
    screen = Screen(rng, rng.choice(("Your basket", "Checkout", "Basket")))
    rows, total = priced(rng, 3)
    for item, price in rows:
        screen.row(item, price)
    if kind == "code":
        word = rng.choice(("WELCOME10", "SPRING15", "COSY20", "NEWHOME", "LINEN5"))
        screen.field("Discount code", word, wrong=True)
        screen.text(rng.choice(("Code not valid", "This code has expired", "Does not apply here")), size=13, fill=RED)
    elif kind == "gift":
        screen.field("Gift card number", f"{rng.randint(1000, 9999)} {rng.randint(1000, 9999)} ....")
        screen.text(rng.choice(("Balance: 0.00", "Card not activated", "Gift card balance 12.50")), size=13)
    elif kind == "declined":
        screen.banner(
            rng.choice(
                (
                    ("Payment declined", "Try another card"),
                    ("Payment failed", "Error at your bank"),
                    ("Card refused", "No money was taken"),
                )
            ),
            RED,
        )
    screen.row("Total", total, bold=True)
    screen.button("Pay now" if kind != "gift" else "Redeem")
    return screen.image


def tracking(rng: random.Random, kind: str = "transit") -> Image.Image:
    """The tracking page. kind: plain (no status), transit (stuck), delivered, refund (a return on its way back)."""
    screen = Screen(rng, rng.choice(("Track parcel", "Delivery", "Tracking")))
    screen.text(order_number(rng), bold=True)
    if kind == "refund":
        steps, done = ("Return received", "Checked", "Refund pending"), 2
    else:
        steps = ("Packed", "In transit", "Out for delivery", "Delivered")
        done = {"plain": 0, "transit": rng.choice((1, 2)), "delivered": 4}[kind]
    for number, step in enumerate(steps):
        y = screen.y + 8
        colour = GREEN if number < done else GREY
        if number + 1 < len(steps):
            screen.draw.line((screen.left + 8, y, screen.left + 8, y + 36), fill=GREY, width=3)
        screen.draw.ellipse((screen.left, y - 8, screen.left + 16, y + 8), fill=colour)
        screen.draw.text((screen.left + 28, y - 9), step, font=font(15, bold=number == done - 1), fill=screen.ink)
        screen.y += 36
    screen.space()
    if kind == "transit":
        screen.text(
            rng.choice((f"Expected: {date(rng)}", f"Delayed since {date(rng)}", "No news for 5 days")), fill=RED
        )
    elif kind == "delivered":
        screen.banner(
            (f"Delivered {date(rng)}", rng.choice(("left at door", "handed over 12:04", "with neighbour"))), GREEN
        )
    return screen.image


def order(rng: random.Random, kind: str = "plain") -> Image.Image:
    """The order page. kind: plain, cancel, address, return, invoice, size."""
    screen = Screen(rng, rng.choice(("My order", "Order details", "Your order")))
    screen.text(order_number(rng), bold=True)
    item = (
        rng.choice(ITEMS)
        if kind != "size"
        else rng.choice(("Jumper", "Slippers", "Dressing gown", "Gloves", "Trousers"))
    )
    screen.picture(screen.left, screen.y, 54, rng)
    screen.draw.text((screen.left + 66, screen.y + 6), item, font=font(14), fill=screen.ink)
    price = money(rng)
    detail = f"Size {rng.choice(('S', 'M', '38', '40'))}" if kind == "size" else price
    screen.draw.text((screen.left + 66, screen.y + 28), detail, font=font(14, bold=kind == "size"), fill=screen.ink)
    screen.y += 66
    if kind == "cancel":
        screen.row("Status", rng.choice(("Preparing", "Not yet sent", "Packing")))
        screen.button("Cancel order", fill=RED, outline=True)
    elif kind == "address":
        screen.text("Delivery address", bold=True)
        screen.text(f"{rng.randint(1, 98)} {rng.choice(('Heron Lane', 'Mill Road', 'Quay Street', 'Alder Row'))}")
        screen.text(rng.choice(("Oldbrook", "Wexcombe", "Tarnley")))
        screen.button("Edit address", outline=True)
    elif kind == "return":
        screen.row("Status", "Delivered")
        screen.button("Return item", outline=True)
    elif kind == "invoice":
        screen.row("Invoice", rng.choice(("not available", "no file", "PDF")))
        screen.button("Download invoice", outline=True)
    elif kind == "size":
        screen.row("Status", "Delivered")
        screen.button("Exchange size", outline=True)
    else:
        screen.row("Placed", date(rng))
        screen.row("Paid", price)
    return screen.image


def form(rng: random.Random, kind: str) -> Image.Image:
    """A form. kind: login (refused), address, gift."""
    if kind == "login":
        screen = Screen(rng, rng.choice(("Sign in", "Log in", "My account")))
        screen.field("User name", rng.choice(("rosa.t", "ben_k", "amira22", "j.holt", "lin")))
        screen.field("Password", "*" * rng.randint(6, 11), wrong=True)
        screen.text(rng.choice(("Wrong password", "Account locked", "Sign-in failed")), fill=RED)
        screen.button(rng.choice(("Sign in", "Log in")))
        screen.text("Forgot password?", size=13, fill=screen.accent)
    else:
        screen = Screen(rng, "Address")
        screen.field(
            "Street",
            rng.choice(("Heron Lane 12", "Mill Road 21", "Quay Street 4", "Alder Row 33")),
            wrong=rng.random() < 0.5,
        )
        screen.field("Postcode", f"{rng.randint(10000, 99999)}")
        screen.field("Town", rng.choice(("Oldbrook", "Wexcombe", "Tarnley")))
        screen.button("Save address")
    return screen.image


def crash(rng: random.Random, kind: str = "dialog") -> Image.Image:
    """The app in trouble. kind: dialog (an error code), blank (nothing loads), start (the start page, all is well)."""
    screen = Screen(rng, "Marlowick")
    if kind == "blank":
        cx, cy, r = screen.width // 2, screen.height // 2, rng.randint(16, 30)
        start = rng.randint(0, 360)
        screen.draw.arc((cx - r, cy - r, cx + r, cy + r), start, start + 270, fill=GREY, width=6)
        if rng.random() < 0.6:
            screen.draw.text((cx - 32, cy + r + 10), "Loading...", font=font(14), fill=GREY)
    elif kind == "start":
        for number in range(6):
            x = screen.left + (number % 2) * (screen.width // 2 - 8)
            screen.picture(x, screen.y + (number // 2) * 88, 74, rng)
    else:
        top = rng.randint(80, 130)
        box = (20, top, screen.width - 20, top + 128)
        screen.draw.rounded_rectangle(box, radius=10, fill=(240, 240, 240), outline=(90, 90, 90), width=2)
        title = rng.choice(("App has stopped", "Unexpected error", "Something went wrong", "Page not loaded"))
        screen.draw.text((30, top + 14), title, font=font(15, bold=True), fill=(30, 30, 30))
        screen.draw.text(
            (30, top + 44), f"Error {rng.choice((500, 502, 503, 504))}-{rng.randint(10, 99)}", font=font(14), fill=RED
        )
        screen.draw.text(
            (30, top + 90), rng.choice(("Close app", "Try again", "OK")), font=font(14, bold=True), fill=screen.accent
        )
    return screen.image


def invoice(rng: random.Random) -> Image.Image:
    """A bill on A4, with the field that matters left empty."""
    width, height = rng.choice(((270, 360), (280, 350)))
    image = Image.new("RGB", (width, height), (252, 252, 252))
    draw = ImageDraw.Draw(image)
    draw.text((18, 16), "INVOICE", font=font(20, bold=True, family="Serif"), fill=(20, 20, 60))
    draw.text((18, 48), "Marlowick", font=font(13), fill=(40, 40, 40))
    draw.text((18, 66), f"No. {rng.randint(10000, 99999)}  {date(rng)}", font=font(13), fill=(40, 40, 40))
    draw.text(
        (18, 92),
        rng.choice(("Company: -", "Bill to: private", "VAT no.: -")),
        font=font(14, bold=True),
        fill=(40, 40, 40),
    )
    rows, net = priced(rng, 3)
    for number, (item, price) in enumerate(rows):
        y = 124 + 26 * number
        draw.text((18, y), item, font=font(13), fill=(40, 40, 40))
        draw.text((width - 70, y), price, font=font(13), fill=(40, 40, 40))
        draw.line((18, y + 20, width - 18, y + 20), fill=(180, 180, 180))
    draw.text((18, 216), f"Net {net}   VAT 20 %", font=font(13), fill=(40, 40, 40))
    draw.text((18, 240), f"Total {float(net) * 1.2:.2f}", font=font(15, bold=True), fill=(20, 20, 20))
    return photographed(rng, image, tilt=1.5)


def return_label(rng: random.Random) -> Image.Image:
    """A label for a return parcel."""
    width, height = rng.choice(((300, 220), (290, 240)))
    image = Image.new("RGB", (width, height), (252, 250, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((6, 6, width - 6, height - 6), outline=(20, 20, 20), width=3)
    draw.text(
        (18, 16),
        rng.choice(("RETURN LABEL", "RETURN TO SENDER", "RETURNS")),
        font=font(18, bold=True),
        fill=(20, 20, 20),
    )
    draw.text((18, 48), "Marlowick Returns", font=font(14), fill=(20, 20, 20))
    draw.text((18, 68), f"Dock {rng.randint(1, 30)}, Tarnley", font=font(14), fill=(20, 20, 20))
    x = 20
    while x < width - 24:
        bar = rng.randint(1, 4)
        draw.rectangle((x, 100, x + bar, 168), fill=(10, 10, 10))
        x += bar + rng.randint(2, 5)
    draw.text((60, 176), order_number(rng), font=font(14, family="SansMono"), fill=(20, 20, 20))
    return photographed(rng, image)


def leaflet(rng: random.Random) -> Image.Image:
    """A printed voucher."""
    width, height = rng.choice(((300, 200), (280, 230)))
    background = rng.choice(((246, 214, 90), (240, 150, 120), (170, 214, 190)))
    image = Image.new("RGB", (width, height), background)
    draw = ImageDraw.Draw(image)
    draw.text((20, 20), f"{rng.choice((5, 10, 15, 20))} % OFF", font=font(34, bold=True), fill=(60, 20, 30))
    draw.text((20, 74), "with the code", font=font(15), fill=(40, 30, 30))
    code = rng.choice(("WELCOME10", "SPRING15", "COSY20", "NEWHOME", "LINEN5"))
    draw.rectangle((18, 100, 30 + 14 * len(code), 136), outline=(60, 20, 30), width=3)
    draw.text((26, 106), code, font=font(20, bold=True, family="SansMono"), fill=(60, 20, 30))
    draw.text((20, 150), f"valid until {date(rng)}", font=font(14), fill=(40, 30, 30))
    return photographed(rng, image)


def gift_card(rng: random.Random) -> Image.Image:
    """A plastic gift card, its number partly rubbed off."""
    width, height = 300, rng.randint(180, 210)
    image = Image.new("RGB", (width, height), tuple(rng.randint(30, 130) for _ in range(3)))  # type: ignore[arg-type]
    draw = ImageDraw.Draw(image)
    ribbon = tuple(rng.randint(150, 240) for _ in range(3))
    draw.rectangle((width - 80, 0, width - 60, height), fill=ribbon)  # type: ignore[arg-type]
    draw.rectangle((0, height // 3, width, height // 3 + 16), fill=ribbon)  # type: ignore[arg-type]
    draw.text((18, 14), "GIFT CARD", font=font(22, bold=True), fill=(250, 250, 250))
    draw.text((18, height - 74), f"Value {rng.choice((20, 25, 50, 75, 100))}", font=font(17), fill=(250, 250, 250))
    draw.text(
        (18, height - 40),
        f"{rng.randint(1000, 9999)} {rng.randint(1000, 9999)} ",
        font=font(17, family="SansMono"),
        fill=(250, 250, 250),
    )
    scratch = rng.randint(120, 150)
    for _ in range(30):
        x, y = rng.randint(scratch, scratch + 90), rng.randint(height - 42, height - 20)
        draw.line((x, y, x + rng.randint(-20, 20), y + rng.randint(-6, 6)), fill=(190, 190, 190), width=2)
    return photographed(rng, image)
