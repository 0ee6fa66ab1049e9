/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The demo's picture: a part of the Mandelbrot set, with captions. The guest draws it, picture.c
 * provides the buffer, demo.c checks the display. All arithmetic uses integers, so that all three
 * agree on every pixel.
 */
#ifndef DEMO_SCENE_H
#define DEMO_SCENE_H

#include <stdbool.h>
#include <stdint.h>

#define SCENE_WIDTH  1024
#define SCENE_HEIGHT 768
#define SCENE_PITCH  (SCENE_WIDTH * 4) /* bytes per line: one page */

/* The guest's memory: arguments, program, buffer. */
#define SCENE_ARGS   0x200000ull
#define SCENE_CODE   0x201000ull
#define SCENE_MEM    0x10000ull /* bytes at SCENE_ARGS */
#define SCENE_BUFFER 0x40000000ull

struct scene_args {
	uint32_t from, to;	/* lines to draw: from <= line < to */
	uint32_t moving, moved; /* for scene_pixel() */
	volatile uint32_t done; /* lines below this number are drawn */
};

/* The plane: its centre and the distance between two pixels, in units of 2^-40. */
#define SCENE_FRACTION 40
#define SCENE_UNIT     (1ll << SCENE_FRACTION)
#define SCENE_CX       (-817506000000ll) /* -0.743525 */
#define SCENE_CY       144700000000ll	 /* 0.131605 */
#define SCENE_STEP     13000000ll
#define SCENE_ROUNDS   400

static inline int64_t scene_mul(int64_t a, int64_t b)
{
	return (int64_t)(((__int128)a * b) >> SCENE_FRACTION);
}

/* 256 * log2(x / 2^16), for x > 0, to about 1 %. */
static inline int32_t scene_log2(uint64_t x)
{
	int32_t exp = 63 - __builtin_clzll(x);
	int32_t f = (int32_t)((exp > 16 ? x >> (exp - 16) : x << (16 - exp)) & 0xffff) >> 4;

	/* log2(1 + f) is about f + 0.35 f (1 - f) */
	return (exp - 16) * 256 + ((f + ((f * (4096 - f)) >> 12) * 90 / 256) >> 4);
}

/* A cosine-like wave between 0 and 255 with the period 1024. */
static inline uint32_t scene_wave(uint32_t t)
{
	int32_t x = (int32_t)(t & 511) - 256;
	int32_t half = (65536 - x * x) >> 9; /* 0 to 128 to 0 */

	return (uint32_t)((t & 512 ? 128 - half : 127 + half) * 255 / 256);
}

/* The colour of a point of the plane, as 0xRRGGBB. */
static inline uint32_t scene_colour(int64_t cx, int64_t cy)
{
	int64_t x = 0, y = 0, xx = 0, yy = 0;
	uint32_t n, t;

	for (n = 0; n < SCENE_ROUNDS && xx + yy < 256 * SCENE_UNIT; n++) {
		y = 2 * scene_mul(x, y) + cy;
		x = xx - yy + cx;
		xx = scene_mul(x, x);
		yy = scene_mul(y, y);
	}
	if (n == SCENE_ROUNDS)
		return 0x04061a;
	/*
	 * Use the fraction of a round beyond the limit to smooth the steps between colours.
	 */
	t = n * 256 + 1024 - (uint32_t)scene_log2((uint64_t)scene_log2((xx + yy) >> 24) << 8);
	t = (uint32_t)scene_log2((uint64_t)t << 8) * 5 / 4;
	return scene_wave(t - 640) << 16 | scene_wave(t - 560) << 8 | scene_wave(t - 420);
}

/* Characters of 5x7 pixels: one byte per column, lowest bit on top. */
struct scene_glyph {
	char c;
	uint8_t column[5];
};

#define SCENE_CHAR 12u /* width of a character in pixels, drawn at double size */

/* Is this pixel of the text set? (x, y) is relative to the text's upper left corner. */
static inline bool scene_text(const char *text, uint32_t x, uint32_t y)
{
	static const struct scene_glyph glyphs[] = {
		{ 'A', { 0x7c, 0x12, 0x11, 0x12, 0x7c } },
		{ 'B', { 0x7f, 0x49, 0x49, 0x49, 0x36 } },
		{ 'C', { 0x3e, 0x41, 0x41, 0x41, 0x22 } },
		{ 'D', { 0x7f, 0x41, 0x41, 0x41, 0x3e } },
		{ 'E', { 0x7f, 0x49, 0x49, 0x49, 0x41 } },
		{ 'F', { 0x7f, 0x09, 0x09, 0x09, 0x01 } },
		{ 'G', { 0x3e, 0x41, 0x49, 0x49, 0x3a } },
		{ 'H', { 0x7f, 0x08, 0x08, 0x08, 0x7f } },
		{ 'I', { 0x00, 0x41, 0x7f, 0x41, 0x00 } },
		{ 'K', { 0x7f, 0x08, 0x14, 0x22, 0x41 } },
		{ 'L', { 0x7f, 0x40, 0x40, 0x40, 0x40 } },
		{ 'M', { 0x7f, 0x02, 0x0c, 0x02, 0x7f } },
		{ 'N', { 0x7f, 0x02, 0x0c, 0x10, 0x7f } },
		{ 'O', { 0x3e, 0x41, 0x41, 0x41, 0x3e } },
		{ 'R', { 0x7f, 0x09, 0x19, 0x29, 0x46 } },
		{ 'S', { 0x26, 0x49, 0x49, 0x49, 0x32 } },
		{ 'T', { 0x01, 0x01, 0x7f, 0x01, 0x01 } },
		{ 'U', { 0x3f, 0x40, 0x40, 0x40, 0x3f } },
		{ 'V', { 0x0f, 0x30, 0x40, 0x30, 0x0f } },
		{ 'W', { 0x7f, 0x20, 0x18, 0x20, 0x7f } },
		{ 'Y', { 0x03, 0x04, 0x78, 0x04, 0x03 } },
		{ '-', { 0x08, 0x08, 0x08, 0x08, 0x08 } },
		{ ':', { 0x00, 0x36, 0x36, 0x00, 0x00 } },
	};
	uint32_t i, at = x / SCENE_CHAR;

	if (y >= 14 || x % SCENE_CHAR >= 10)
		return false;
	for (i = 0; i < at && text[i]; i++)
		;
	if (!text[i])
		return false;
	for (i = 0; i < sizeof(glyphs) / sizeof(glyphs[0]); i++)
		if (glyphs[i].c == text[at])
			return glyphs[i].column[x % SCENE_CHAR / 2] >> y / 2 & 1;
	return false;
}

/* A line of white text on a darkened background; c is the picture's colour. */
static inline uint32_t scene_caption(const char *text, uint32_t x, int32_t y, uint32_t c)
{
	uint32_t len = 0;

	while (text[len])
		len++;
	if (x >= (len + 2) * SCENE_CHAR)
		return c;
	if (x >= SCENE_CHAR && y >= 0 && scene_text(text, x - SCENE_CHAR, (uint32_t)y))
		return 0xffffff;
	return (c >> 2) & 0x3f3f3f;
}

#define SCENE_TITLE 40u /* height of the title, in lines */
#define SCENE_LABEL 28u /* height of a label */

/*
 * Pixel (x, y) of the picture, as 0xRRGGBB. The lines `moving` and `moved` (0: none) are marked and
 * labelled as those at which the move of the buffer began and ended.
 */
static inline uint32_t scene_pixel(uint32_t x, uint32_t y, uint32_t moving, uint32_t moved)
{
	uint32_t c = scene_colour(SCENE_CX + ((int64_t)x - SCENE_WIDTH / 2) * SCENE_STEP,
				  SCENE_CY + (SCENE_HEIGHT / 2 - (int64_t)y) * SCENE_STEP);

	if (!moved)
		return c;
	if (y == moving || y == moved)
		return 0xffffff;
	if (y < SCENE_TITLE)
		return scene_caption("DRAWN BY A KVM GUEST INTO A BUFFER OF BOCHS-DRM", x,
				     (int32_t)y - 13, c);
	if (y < moving && y + SCENE_LABEL >= moving)
		return scene_caption("ABOVE: DRAWN IN SYSTEM MEMORY", x,
				     (int32_t)(y + SCENE_LABEL - moving) - 7, c);
	if (y > moved && y <= moved + SCENE_LABEL)
		return scene_caption("BELOW: DRAWN IN VIDEO MEMORY", x, (int32_t)(y - moved) - 8,
				     c);
	return c;
}

#endif
