"""Where a flat face lies in the picture: pinhole projection of a posed plane."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Pose:
    """A plane in front of a camera.

    `center` is where the plane's origin appears, in pixels; `scale` is in pixels per millimetre
    there; `spin` turns the face in its own plane, then `yaw` and `pitch` tilt it, all in radians;
    `distance` from the camera is in millimetres: the nearer, the stronger the perspective.
    """

    center: tuple[float, float]
    scale: float
    spin: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    distance: float = 600.0

    def rotation(self) -> np.ndarray:
        """3 x 3; x right, y down, z away from the camera."""
        spin = cv2.Rodrigues(np.array([0.0, 0.0, self.spin]))[0]
        yaw = cv2.Rodrigues(np.array([0.0, self.yaw, 0.0]))[0]
        pitch = cv2.Rodrigues(np.array([self.pitch, 0.0, 0.0]))[0]
        return pitch @ yaw @ spin

    def homography(self, depth: float = 0.0) -> np.ndarray:
        """3 x 3, from millimetres on the plane `depth` mm behind the face to pixels."""
        rotation = self.rotation()
        offset = np.array([0.0, 0.0, self.distance]) + depth * rotation[:, 2]
        plane = np.column_stack([rotation[:, 0], rotation[:, 1], offset])
        focal = self.scale * self.distance
        camera = np.array(
            [[focal, 0, self.center[0]], [0, focal, self.center[1]], [0, 0, 1.0]], np.float64
        )
        return camera @ plane

    def project(self, points: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """N x 2 millimetres from the face's origin to N x 2 pixels."""
        homogeneous = np.column_stack([points, np.ones(len(points))]) @ self.homography(depth).T
        return homogeneous[:, :2] / homogeneous[:, 2:]


def warp_region(
    layer: np.ndarray, to_pixels: np.ndarray, shape: tuple[int, int]
) -> tuple[slice, slice, np.ndarray] | None:
    """Warp `layer` (rows x columns x channels, premultiplied) by `to_pixels` into a picture.

    Returns the rows and columns of the picture of `shape` that it touches and the warped layer
    there, or None where it touches none. Layers much finer than the picture are reduced first, so
    that thin lines fade instead of flickering.
    """
    rows, columns = layer.shape[:2]
    corners = np.array([[0, 0, 1], [columns, 0, 1], [columns, rows, 1], [0, rows, 1]], np.float64)
    projected = corners @ to_pixels.T
    if (projected[:, 2] <= 1e-6).any():
        return None
    quad = projected[:, :2] / projected[:, 2:]
    left, top = np.floor(quad.min(0)).astype(int) - 1
    right, bottom = np.ceil(quad.max(0)).astype(int) + 2
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, shape[1]), min(bottom, shape[0])
    if right <= left or bottom <= top:
        return None
    longest = max(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[1] - quad[2])) / rows
    widest = max(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[2] - quad[3])) / columns
    reduction = max(longest, widest) * 1.4
    if reduction < 0.8:
        size = (max(2, round(columns * reduction)), max(2, round(rows * reduction)))
        layer = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
        to_pixels = to_pixels @ np.diag([columns / size[0], rows / size[1], 1.0])
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1.0]])
    # Pixel centres lie at +0.5 in both pictures.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    matrix = np.linalg.inv(half) @ shift @ to_pixels @ half
    warped = cv2.warpPerspective(
        layer, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR
    )
    return slice(top, bottom), slice(left, right), warped
