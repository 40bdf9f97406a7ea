"""Phones cut out of labelled photographs, to be pasted onto others.

A phone is cut out only where what GrabCut takes for it has a phone's shape and fills its box.
"""

import cv2
import numpy as np

#: The shorter side that a phone's box has at least, in pixels.
MIN_SIDE = 70
#: How much of its smallest turned rectangle a phone fills at least, and its mask of the label.
MIN_FILLED, MIN_OVERLAP = 0.88, 0.8


def cut_out(image: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The phone in `box` (xyxy) of `image` as H x W x 4 uint8 RGBA, or None where it is unclear."""
    height, width = image.shape[:2]
    left, top, right, bottom = box.round().astype(int)
    if min(right - left, bottom - top) < MIN_SIDE:
        return None
    if left <= 2 or top <= 2 or right >= width - 2 or bottom >= height - 2:
        return None  # cut by the picture's edge, perhaps
    margin = max(right - left, bottom - top) // 5
    x0, y0 = max(left - margin, 0), max(top - margin, 0)
    window = image[y0 : bottom + margin, x0 : right + margin]
    mask = np.full(window.shape[:2], cv2.GC_BGD, np.uint8)
    inner = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
    mask[inner] = cv2.GC_PR_FGD
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(
        np.ascontiguousarray(window), mask, None, models[0], models[1], 4, cv2.GC_INIT_WITH_MASK
    )
    phone = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    phone = cv2.morphologyEx(phone, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(phone, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    outline = max(contours, key=cv2.contourArea)
    area = cv2.contourArea(outline)
    rectangle = cv2.minAreaRect(outline)
    x, y, w, h = cv2.boundingRect(outline)
    overlap = w * h / ((right - left) * (bottom - top))
    if area < MIN_FILLED * rectangle[1][0] * rectangle[1][1] or overlap < MIN_OVERLAP:
        return None
    solid = np.zeros_like(phone)
    cv2.drawContours(solid, [outline], -1, 255, -1)
    solid = cv2.GaussianBlur(cv2.erode(solid, np.ones((3, 3), np.uint8)), (0, 0), 0.8)
    return np.dstack([window, solid])[y : y + h, x : x + w]
