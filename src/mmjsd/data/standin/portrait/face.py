"""A face drawn part by part, from the background to the glasses."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmjsd.data.standin.portrait.accessories import draw_earrings, draw_glasses, draw_hat
from mmjsd.data.standin.portrait.body import draw_body
from mmjsd.data.standin.portrait.features import draw_age, draw_eye, draw_mouth, draw_nose
from mmjsd.data.standin.portrait.hair import draw_beard, draw_hair, hair_texture
from mmjsd.data.standin.portrait.head import draw_head
from mmjsd.data.standin.portrait.look import look_of
from mmjsd.data.standin.portrait.pen import HEIGHT, SCALE, WIDTH, Pen
from mmjsd.data.standin.portrait.photograph import NEUTRAL, develop, draw_ground

__all__ = ["draw_face"]


def draw_face(attributes: NDArray[np.bool_], rng: np.random.Generator) -> Image.Image:
    """Draw a picture, 178x218 pixels, of a face that has these attributes (40,).

    On the canvas lies a layer of light (``glow``), by which shadows and highlights multiply it.
    """
    # camera and background have generators of their own: an attribute changes nothing but what it shows
    scenery, camera = rng.spawn(2)
    look = look_of(attributes, rng)
    canvas = draw_ground(scenery)
    light = Image.new("RGB", (WIDTH // 2, HEIGHT // 2), (NEUTRAL,) * 3)
    pen, glow = Pen(canvas, SCALE), Pen(light, 0.5)
    texture = hair_texture(look)
    draw_body(look, canvas, pen, glow, texture)
    draw_head(look, pen, glow)
    draw_beard(look, canvas, texture)
    draw_mouth(look, pen, glow)
    draw_nose(look, pen, glow)
    for side in (-1, 1):
        draw_eye(look, pen, glow, side)
    draw_age(look, pen)
    draw_hair(look, canvas, texture)
    if look.has["Wearing_Hat"]:
        draw_hat(look, pen)
    if look.has["Eyeglasses"]:
        draw_glasses(look, pen)
    if look.has["Wearing_Earrings"]:
        draw_earrings(look, pen)
    return develop(canvas, light, blurry=look.has["Blurry"], rng=camera)
