"""Reading order and dropped blanks, on pictures drawn for the purpose."""

from __future__ import annotations

import numpy as np

from triptych.data.ocr_layout import TextBox, lay_out, restore_blanks

INK, PAPER = 0, 255


def line(text: str, left: int = 10, top: int = 10, pitch: int = 10) -> tuple[TextBox, np.ndarray]:
    """Letters as bars 4 pixels wide; the box's text lacks the blanks that the picture shows."""
    picture = np.full((200, 400, 3), PAPER, np.uint8)
    centres = []
    for i, character in enumerate(text):
        if character != " ":
            x = left + i * pitch
            picture[top : top + 20, x + 3 : x + 7] = INK
            centres.append(x + 5)
    right = left + len(text) * pitch
    corners = np.array([[left, top], [right, top], [right, top + 20], [left, top + 20]], float)
    return TextBox(text.replace(" ", ""), corners, centres), picture


def test_a_wide_gap_without_ink_is_a_blank() -> None:
    box, picture = line("Total    19.90")
    assert restore_blanks(box, picture) == "Total 19.90"


def test_light_letters_on_dark_are_read_alike() -> None:
    box, picture = line("Total    19.90")
    assert restore_blanks(box, 255 - picture) == "Total 19.90"


def test_blanks_that_were_read_stay() -> None:
    box, picture = line("one two    three")
    known = TextBox("one twothree", box.corners, box.centres)
    assert restore_blanks(known, picture) == "one two three"


def test_letters_close_together_get_no_blank() -> None:
    box, picture = line("Totally")
    assert restore_blanks(box, picture) == "Totally"


def test_a_gap_with_ink_in_it_is_no_blank() -> None:
    box, picture = line("ab   cd")
    picture[18:22, 20:70] = INK  # a dash, ink all the way
    assert restore_blanks(box, picture) == "abcd"


def test_chinese_characters_stand_without_blanks() -> None:
    box, picture = line("谢谢   光临")
    assert restore_blanks(box, picture) == "谢谢光临"


def test_without_positions_the_text_stays() -> None:
    box, picture = line("Total    19.90")
    assert restore_blanks(TextBox(box.text, box.corners), picture) == "Total19.90"


def test_a_box_outside_of_the_picture_is_harmless() -> None:
    box, picture = line("Total    19.90")
    away = TextBox(box.text, box.corners + 1_000, [c + 1_000 for c in box.centres])
    assert restore_blanks(away, picture) in ("Total19.90", "Total 19.90")


def test_boxes_of_one_row_stand_in_one_line_from_left_to_right() -> None:
    picture = np.full((200, 400, 3), PAPER, np.uint8)

    def box(text: str, left: int, top: int) -> TextBox:
        return TextBox(text, np.array([[left, top], [left + 50, top], [left + 50, top + 20], [left, top + 20]], float))

    boxes = [box("below", 10, 40), box("right", 200, 8), box("left", 10, 12)]
    assert lay_out(boxes, picture) == "left right\nbelow"
