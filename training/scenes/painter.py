"""Puts posed things into a picture, from back to front, and keeps track of what stays visible."""

from dataclasses import replace

import cv2
import numpy as np

from training.scenes.geometry import Pose, warp_region
from training.scenes.hands import Hand
from training.scenes.phones import Solid
from training.scenes.raster import Canvas

#: A phone is labelled when at least this share of it is seen.
MIN_VISIBLE = 0.5
#: Below this share nobody would call it visible, and it needs no label.
MAX_INVISIBLE = 0.02


class UnclearSceneError(Exception):
    """A phone is neither in the picture nor out of it, or a thing cannot be projected."""


class Painter:
    """A picture under construction; `image` and `light` are H x W x 3 float32."""

    def __init__(self, background: np.ndarray, light: np.ndarray) -> None:
        self.light = light
        self.image = background * light
        self.shape = (background.shape[0], background.shape[1])
        #: For each phone: the coverage of what is seen of it (H x W), and its whole area in pixels.
        self.phones: list[tuple[np.ndarray, float]] = []

    def canvas(
        self,
        canvas: Canvas,
        pose: Pose,
        depth: float = 0.0,
        offset: tuple[float, float] | None = None,
        glow: float = 0.0,
    ) -> np.ndarray:
        """Blend `canvas` in, its point `offset` (mm; default its centre) at the pose's origin.

        Returns its coverage, H x W.
        """
        x, y = offset or (canvas.width / 2, canvas.height / 2)
        rows, columns = canvas.alpha.shape
        to_mm = np.array(
            [[canvas.width / columns, 0, -x], [0, canvas.height / rows, -y], [0, 0, 1]]
        )
        layer = np.dstack([canvas.rgb, canvas.alpha])
        region = warp_region(layer, pose.homography(depth) @ to_mm, self.shape)
        coverage = np.zeros(self.shape, np.float32)
        if region is None:
            return coverage
        at_rows, at_columns, warped = region
        alpha = warped[..., 3]
        light = self.light[at_rows, at_columns]
        target = self.image[at_rows, at_columns]
        target *= 1 - alpha[..., None]
        target += warped[..., :3] * (light * (1 - glow) + glow)
        coverage[at_rows, at_columns] = alpha
        self.hide(at_rows, at_columns, alpha)
        return coverage

    def hide(self, rows: slice, columns: slice, alpha: np.ndarray) -> None:
        """Take what `alpha` covers away from the phones painted so far."""
        for mask, _ in self.phones:
            mask[rows, columns] *= 1 - alpha

    def shadow(
        self, canvas: Canvas, pose: Pose, shift: tuple[float, float], blur: float, strength: float
    ) -> None:
        """Darken what lies under `canvas`, moved by `shift` pixels and blurred by `blur` pixels."""
        moved = replace(pose, center=(pose.center[0] + shift[0], pose.center[1] + shift[1]))
        rows, columns = canvas.alpha.shape
        alpha = cv2.resize(canvas.alpha, (max(8, columns // 4), max(8, rows // 4)))
        # Room for the blur, or the shadow would end in straight lines.
        room = 3 * blur / pose.scale
        right = int(np.ceil(room / canvas.width * alpha.shape[1])) + 2
        below = int(np.ceil(room / canvas.height * alpha.shape[0])) + 2
        wide = canvas.width * (1 + 2 * right / alpha.shape[1])
        high = canvas.height * (1 + 2 * below / alpha.shape[0])
        alpha = cv2.copyMakeBorder(alpha, below, below, right, right, cv2.BORDER_CONSTANT)
        to_mm = np.array(
            [
                [wide / alpha.shape[1], 0, -wide / 2],
                [0, high / alpha.shape[0], -high / 2],
                [0, 0, 1],
            ]
        )
        region = warp_region(alpha, moved.homography() @ to_mm, self.shape)
        if region is None:
            return
        at_rows, at_columns, warped = region
        soft = cv2.GaussianBlur(warped, (0, 0), max(0.6, blur))
        self.image[at_rows, at_columns] *= 1 - strength * soft[..., None]

    def solid(self, solid: Solid, pose: Pose) -> np.ndarray:
        """Paint a flat box: its rim layer by layer from behind, then its face. Returns coverage."""
        normal = pose.rotation()[:, 2]
        sideways = solid.thickness * pose.scale * float(np.hypot(normal[0], normal[1]))
        coverage = np.zeros(self.shape, np.float32)
        layers = int(min(24, np.ceil(sideways / 1.5)))
        if layers:
            rim = Canvas(*solid.size, solid.face.scale)
            rim.alpha = solid.face.alpha
            for depth in np.linspace(solid.thickness, 0, layers, endpoint=False):
                # Metal frames are lighter in the middle than towards either edge.
                tone = 0.55 + 0.45 * np.sin(np.pi * (0.15 + 0.7 * depth / solid.thickness))
                rim.rgb = rim.alpha[..., None] * np.asarray(solid.rim, np.float32) * tone
                rim.rgb = rim.rgb.astype(np.float32)
                coverage = np.maximum(coverage, self.canvas(rim, pose, float(depth)))
        return np.maximum(coverage, self.canvas(solid.face, pose, glow=solid.glow))

    def phone(self, solid: Solid, pose: Pose) -> None:
        """Paint a phone, and note what is seen of it."""
        coverage = self.solid(solid, pose)
        self.phones.append((coverage, self.whole_area(solid, pose)))

    def whole_area(self, solid: Solid, pose: Pose) -> float:
        """The phone's area in pixels, parts outside the picture included."""
        width, height = solid.size
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
        outline = np.vstack([pose.project(corners), pose.project(corners, solid.thickness)])
        return float(cv2.contourArea(cv2.convexHull(outline.astype(np.float32))))

    def hand_behind(self, hand: Hand, solid: Solid, pose: Pose) -> None:
        """Paint the arm and what of the hand lies behind the thing."""
        width, height = solid.size
        arm = (width / 2 + hand.arm_origin, height / 2 + hand.arm_origin)
        behind = (width / 2 + hand.origin, height / 2 + hand.origin)
        if not self.canvas(hand.arm, pose, solid.thickness + 12, arm).any():
            raise UnclearSceneError("the arm cannot be projected")
        self.canvas(hand.behind, pose, solid.thickness, behind)

    def hand_front(self, hand: Hand, solid: Solid, pose: Pose) -> None:
        """Paint thumb and finger tips over the thing."""
        width, height = solid.size
        self.canvas(hand.front, pose, -2.0, (width / 2 + hand.origin, height / 2 + hand.origin))

    def boxes(self) -> np.ndarray:
        """N x 4 float32, xyxy pixels: the phones that are seen, each around what is seen of it.

        Raises UnclearSceneError where a phone is too hidden, too cut or too small to be fair.
        """
        found = []
        for mask, whole in self.phones:
            share = float(mask.sum()) / max(whole, 1.0)
            if share < MAX_INVISIBLE:
                continue
            rows, columns = np.nonzero(mask > 0.5)
            if share < MIN_VISIBLE or not len(rows):
                raise UnclearSceneError(f"{share:.2f} of a phone is seen")
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            if max(box[2] - box[0], box[3] - box[1]) < 0.05 * self.shape[1]:
                raise UnclearSceneError("a phone is too small")
            found.append(box)
        return np.array(found, np.float32).reshape(-1, 4)
