"""The functions of exported C files: layers that are more than an expression for each number."""

from __future__ import annotations

import re

__all__ = ["functions_used"]

# Functions that the body may call, each after those that it calls itself. `real` is the network's dtype.
_FUNCTIONS = {
    "linear": """
/* y = x W + b for each position, with W (in, out). Sums in blocks of 64, which keeps rounding errors small. */
static void linear(const real *x, const real *w, const real *b, real *y, int places, int in, int out)
{
    for (int t = 0; t < places; t++, x += in, y += out)
        for (int start = 0; start < out; start += 64) {
            int width = out - start < 64 ? out - start : 64;
            real sum[64], part[64];
            for (int o = 0; o < width; o++) sum[o] = b ? b[start + o] : 0;
            for (int from = 0; from < in; from += 64) {
                int to = from + 64 < in ? from + 64 : in;
                for (int o = 0; o < width; o++) part[o] = 0;
                for (int i = from; i < to; i++) {
                    const real *row = w + (long)i * out + start;
                    real v = x[i];
                    for (int o = 0; o < width; o++) part[o] += v * row[o];
                }
                for (int o = 0; o < width; o++) sum[o] += part[o];
            }
            for (int o = 0; o < width; o++) y[start + o] = sum[o];
        }
}
""",
    "conv": """
/* Cross-correlation of an image with weights (out, channels / groups, kh, kw). */
static void conv(const real *x, const real *w, const real *b, real *y, int channels, int rows, int columns, int out,
                 int groups, int height, int width, int kh, int kw, int sh, int sw, int dh, int dw, int top, int left)
{
    int each = channels / groups;
    for (int o = 0; o < out; o++, y += height * width) {
        for (int i = 0; i < height * width; i++) y[i] = b ? b[o] : 0;
        for (int c = 0; c < each; c++)
            for (int a = 0; a < kh; a++)
                for (int e = 0; e < kw; e++) {
                    real v = w[((o * each + c) * kh + a) * kw + e];
                    const real *plane = x + (long)(o / (out / groups) * each + c) * rows * columns;
                    int shift = e * dw - left, low = shift < 0 ? (-shift + sw - 1) / sw : 0;
                    int high = columns - 1 - shift < 0 ? 0 : (columns - 1 - shift) / sw + 1;
                    if (high > width) high = width;
                    for (int i = 0; i < height; i++) {
                        int r = i * sh + a * dh - top;
                        if (r < 0 || r >= rows) continue;
                        const real *row = plane + r * columns + shift;
                        real *to = y + i * width;
                        if (sw == 1) for (int j = low; j < high; j++) to[j] += v * row[j];
                        else for (int j = low; j < high; j++) to[j] += v * row[j * sw];
                    }
                }
    }
}
""",
    "conv_places": """
/* Cross-correlation along the positions of a sequence with weights (k, features / groups, out). */
static void conv_places(const real *x, const real *w, const real *b, real *y, int places, int features, int windows,
                        int out, int groups, int k, int stride, int dilation, int before)
{
    int each = features / groups, wide = out / groups;
    for (int t = 0; t < windows; t++, y += out) {
        for (int o = 0; o < out; o++) y[o] = b ? b[o] : 0;
        for (int a = 0; a < k; a++) {
            int at = t * stride + a * dilation - before;
            if (at < 0 || at >= places) continue;
            for (int g = 0; g < groups; g++)
                for (int c = 0; c < each; c++) {
                    real v = x[(long)at * features + g * each + c];
                    const real *row = w + (long)(a * each + c) * out + g * wide;
                    for (int o = 0; o < wide; o++) y[g * wide + o] += v * row[o];
                }
        }
    }
}
""",
    "conv_transpose": """
/* Adds x times weights (channels, out / groups, kh, kw) at the positions of each window; xc, xh, xw and yc, yh, yw are
   distances in memory. */
static void conv_transpose(const real *x, const real *w, const real *b, real *y, int channels, int rows, int columns,
                           int xc, int xh, int xw, int yc, int yh, int yw, int height, int width, int out, int groups,
                           int kh, int kw, int sh, int sw, int dh, int dw, int top, int left)
{
    int each = channels / groups, wide = out / groups;
    for (int o = 0; o < out; o++) {
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++) y[o * yc + i * yh + j * yw] = b ? b[o] : 0;
        for (int c = o / wide * each; c < (o / wide + 1) * each; c++)
            for (int a = 0; a < kh; a++)
                for (int e = 0; e < kw; e++) {
                    real v = w[(((long)c * wide + o % wide) * kh + a) * kw + e];
                    for (int i = 0; i < rows; i++) {
                        int r = i * sh + a * dh - top;
                        if (r < 0 || r >= height) continue;
                        for (int j = 0; j < columns; j++) {
                            int s = j * sw + e * dw - left;
                            if (s >= 0 && s < width) y[o * yc + r * yh + s * yw] += v * x[c * xc + i * xh + j * xw];
                        }
                    }
                }
    }
}
""",
    "repeat": """
/* Each number `down` times along the rows and `across` times along the columns. */
static void repeat(const real *x, real *y, int channels, int rows, int columns, int xc, int xh, int xw, int yc, int yh,
                   int yw, int height, int width, int down, int across)
{
    (void)rows, (void)columns;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++)
                y[c * yc + i * yh + j * yw] = x[c * xc + i / down * xh + j / across * xw];
}
""",
    "resample": """
/* Weighted means along the columns, then along the rows, unless there is one row. */
static void resample(const real *x, const real *wr, const real *wc, real *y, real *part, int channels, int rows,
                     int columns, int xc, int xh, int xw, int yc, int yh, int yw, int height, int width)
{
    for (int c = 0; c < channels; c++) {
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < width; j++) {
                double sum = 0;
                for (int k = 0; k < columns; k++) sum += (double)wc[j * columns + k] * x[c * xc + i * xh + k * xw];
                part[i * width + j] = (real)sum;
            }
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++) {
                double sum = wr ? 0 : part[j];
                for (int k = 0; wr && k < rows; k++) sum += (double)wr[i * rows + k] * part[k * width + j];
                y[c * yc + i * yh + j * yw] = (real)sum;
            }
    }
}
""",
    "max_pool": """
/* The largest number of each window; xc, xh, xw and yc, yh, yw are distances in memory. */
static void max_pool(const real *x, real *y, int channels, int rows, int columns, int xc, int xh, int xw, int yc,
                     int yh, int yw, int height, int width, int kh, int kw, int sh, int sw, int dh, int dw, int top,
                     int left)
{
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++) {
                real best = -INFINITY;
                for (int a = 0; a < kh; a++)
                    for (int e = 0; e < kw; e++) {
                        int r = i * sh + a * dh - top, s = j * sw + e * dw - left;
                        if (r < 0 || r >= rows || s < 0 || s >= columns) continue;
                        real v = x[c * xc + r * xh + s * xw];
                        if (!(v <= best)) best = v;
                    }
                y[c * yc + i * yh + j * yw] = best;
            }
}
""",
    "avg_pool": """
/* The mean of each window, with its padding as zeros; xc, xh, xw and yc, yh, yw are distances in memory. */
static void avg_pool(const real *x, real *y, int channels, int rows, int columns, int xc, int xh, int xw, int yc,
                     int yh, int yw, int height, int width, int kh, int kw, int sh, int sw, int dh, int dw, int top,
                     int left)
{
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++) {
                double sum = 0;
                for (int a = 0; a < kh; a++)
                    for (int e = 0; e < kw; e++) {
                        int r = i * sh + a * dh - top, s = j * sw + e * dw - left;
                        if (r >= 0 && r < rows && s >= 0 && s < columns) sum += x[c * xc + r * xh + s * xw];
                    }
                y[c * yc + i * yh + j * yw] = (real)(sum / (kh * kw));
            }
}
""",
    "distances": """
/* The Euclidean distance of two arrays over the features. */
static void distances(const real *a, const real *b, real *y, int blocks, int features, int inner)
{
    for (int t = 0; t < blocks; t++)
        for (int i = 0; i < inner; i++) {
            double sum = 0;
            for (int f = 0; f < features; f++) {
                int at = (t * features + f) * inner + i;
                real apart = a[at] - b[at] + (real)1e-6;
                sum += (double)apart * apart;
            }
            y[t * inner + i] = (real)sqrt(sum);
        }
}
""",
    "dots": """
/* The dot product of two arrays over the features, or the cosine of the angle between them. */
static void dots(const real *a, const real *b, real *y, int blocks, int features, int inner, int normalise)
{
    for (int t = 0; t < blocks; t++)
        for (int i = 0; i < inner; i++) {
            double sum = 0, left = 0, right = 0;
            for (int f = 0; f < features; f++) {
                int at = (t * features + f) * inner + i;
                sum += (double)a[at] * b[at];
                left += (double)a[at] * a[at];
                right += (double)b[at] * b[at];
            }
            y[t * inner + i] = (real)(normalise ? sum / fmax(sqrt(left), 1e-8) / fmax(sqrt(right), 1e-8) : sum);
        }
}
""",
    "means": """
/* The mean of each feature or channel. */
static void means(const real *x, real *y, int blocks, int features, int inner)
{
    for (int f = 0; f < features; f++) {
        double sum = 0;
        for (int t = 0; t < blocks; t++)
            for (int i = 0; i < inner; i++) sum += x[((long)t * features + f) * inner + i];
        y[f] = (real)(sum / ((double)blocks * inner));
    }
}
""",
    "maxima": """
/* The largest number of each feature or channel. */
static void maxima(const real *x, real *y, int blocks, int features, int inner)
{
    for (int f = 0; f < features; f++) {
        real most = -INFINITY;
        for (int t = 0; t < blocks; t++)
            for (int i = 0; i < inner; i++) {
                real v = x[((long)t * features + f) * inner + i];
                if (!(v <= most)) most = v;
            }
        y[f] = most;
    }
}
""",
    "scale": """
/* x times w plus b of each feature or channel. */
static void scale(const real *x, const real *w, const real *b, real *y, int blocks, int features, int inner)
{
    for (int t = 0; t < blocks; t++)
        for (int f = 0; f < features; f++)
            for (int i = 0; i < inner; i++, x++) *y++ = *x * w[f] + (b ? b[f] : 0);
}
""",
    "glu": """
/* The first half of the features or channels, times the sigmoid of the second. */
static void glu(const real *x, real *y, int blocks, int features, int inner)
{
    int half = features / 2 * inner;
    for (int t = 0; t < blocks; t++, x += 2 * half)
        for (int i = 0; i < half; i++) *y++ = x[i] * (0.5@ * tanh@(0.5@ * x[half + i]) + 0.5@);
}
""",
    "unit_norm": """
/* x over its norm along the features or channels. */
static void unit_norm(const real *x, real *y, int blocks, int features, int inner, real eps)
{
    for (int t = 0; t < blocks; t++, x += features * inner, y += features * inner)
        for (int i = 0; i < inner; i++) {
            double square = 0;
            for (int f = 0; f < features; f++) square += (double)x[f * inner + i] * x[f * inner + i];
            double norm = sqrt(square) > eps ? sqrt(square) : eps;
            for (int f = 0; f < features; f++) y[f * inner + i] = (real)(x[f * inner + i] / norm);
        }
}
""",
    "group_norm": """
/* Mean 0 and mean square 1 of each group of channels over all positions, then scale and shift of each channel. */
static void group_norm(const real *x, const real *w, const real *b, real *y, int blocks, int channels, int inner,
                       int groups, real eps)
{
    int each = channels / groups;
    long n = (long)blocks * each * inner;
    for (int g = 0; g < groups; g++) {
        double mean = 0, square = 0;
        for (int pass = 0; pass < 3; pass++) {
            double factor = 1 / sqrt(square / n + eps);
            for (int t = 0; t < blocks; t++)
                for (int c = g * each; c < (g + 1) * each; c++)
                    for (int i = 0; i < inner; i++) {
                        long at = ((long)t * channels + c) * inner + i;
                        if (pass == 0) mean += x[at];
                        else if (pass == 1) square += (x[at] - mean) * (x[at] - mean);
                        else y[at] = (real)((x[at] - mean) * factor) * (w ? w[c] : 1) + (b ? b[c] : 0);
                    }
            if (pass == 0) mean /= n;
        }
    }
}
""",
    "affine": """
/* (x - mean) * factor + shift of each feature or channel. */
static void affine(const real *x, const real *mean, const real *factor, const real *shift, real *y, int blocks,
                   int features, int inner)
{
    for (int t = 0; t < blocks; t++)
        for (int f = 0; f < features; f++)
            for (int i = 0; i < inner; i++, x++) *y++ = (*x - mean[f]) * factor[f] + shift[f];
}
""",
    "prelu": """
/* max(x, 0) + a min(x, 0), with one a, or one for each feature or channel. */
static void prelu(const real *x, const real *a, real *y, int blocks, int features, int inner, int step)
{
    for (int t = 0; t < blocks; t++)
        for (int f = 0; f < features; f++)
            for (int i = 0; i < inner; i++, x++) *y++ = *x > 0 ? *x : a[f * step] * *x;
}
""",
    "normalise": """
/* Mean 0 (if centred) and mean square 1 of each row, then scale and shift. */
static void normalise(const real *x, const real *w, const real *b, real *y, int rows, int n, real eps, int centred)
{
    for (int r = 0; r < rows; r++, x += n, y += n) {
        double mean = 0, square = 0;
        for (int i = 0; centred && i < n; i++) mean += x[i];
        mean /= n;
        for (int i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
        double factor = 1 / sqrt(square / n + eps);
        for (int i = 0; i < n; i++) y[i] = (real)((x[i] - mean) * factor) * (w ? w[i] : 1) + (b ? b[i] : 0);
    }
}
""",
    "softmax": """
/* e^x / sum of e^x along the features or channels. */
static void softmax(const real *x, real *y, int blocks, int features, int inner)
{
    for (int t = 0; t < blocks; t++)
        for (int i = 0; i < inner; i++) {
            long at = (long)t * features * inner + i;
            real most = x[at];
            double sum = 0;
            for (int f = 1; f < features; f++) if (x[at + (long)f * inner] > most) most = x[at + (long)f * inner];
            for (int f = 0; f < features; f++) sum += y[at + (long)f * inner] = exp@(x[at + (long)f * inner] - most);
            for (int f = 0; f < features; f++) y[at + (long)f * inner] = (real)(y[at + (long)f * inner] / sum);
        }
}
""",
    "log_softmax": """
/* x - log of the sum of e^x along the features or channels. */
static void log_softmax(const real *x, real *y, int blocks, int features, int inner)
{
    for (int t = 0; t < blocks; t++)
        for (int i = 0; i < inner; i++) {
            long at = (long)t * features * inner + i;
            real most = x[at];
            double sum = 0;
            for (int f = 1; f < features; f++) if (x[at + (long)f * inner] > most) most = x[at + (long)f * inner];
            for (int f = 0; f < features; f++) sum += exp@(x[at + (long)f * inner] - most);
            for (int f = 0; f < features; f++)
                y[at + (long)f * inner] = (real)((double)x[at + (long)f * inner] - most - log(sum));
        }
}
""",
    "attention": """
/* Queries of all positions of x, keys and values of c, weighted sums of each head, and the output projection. */
static void attention(const real *x, const real *c, const real *wq, const real *bq, const real *wk, const real *bk,
                      const real *wv, const real *bv, const real *wo, const real *bo, real *y, real *qs, real *ks,
                      real *vs, real *scores, real *heads, int length, int keys, int width, int count, int causal,
                      real scale)
{
    int d = width / count;
    linear(x, wq, bq, qs, length, width, width);
    linear(c, wk, bk, ks, keys, width, width);
    linear(c, wv, bv, vs, keys, width, width);
    for (int h = 0; h < count; h++)
        for (int t = 0; t < length; t++) {
            const real *q = qs + (long)t * width + h * d;
            real *to = heads + (long)t * width + h * d, most = -INFINITY;
            int last = causal ? t + 1 : keys;
            double sum = 0;
            for (int s = 0; s < last; s++) {
                const real *k = ks + (long)s * width + h * d;
                real dot = 0;
                for (int i = 0; i < d; i++) dot += q[i] * k[i];
                scores[s] = dot * scale;
                if (!(scores[s] <= most)) most = scores[s];
            }
            for (int s = 0; s < last; s++) sum += scores[s] = exp@(scores[s] - most);
            for (int i = 0; i < d; i++) to[i] = 0;
            for (int s = 0; s < last; s++) {
                const real *v = vs + (long)s * width + h * d;
                for (int i = 0; i < d; i++) to[i] += scores[s] * v[i];
            }
            for (int i = 0; i < d; i++) to[i] = (real)(to[i] / sum);
        }
    linear(heads, wo, bo, y, length, width, width);
}
""",
    "sigmoid": """
/* 1 / (1 + e^-x), without overflow. */
static real sigmoid(real x)
{
    return 0.5@ * tanh@(0.5@ * x) + 0.5@;
}
""",
    "rnn": """
/* h <- f(x W + b + h W + b) for each position, in the order of x + t step; h is written to y + t row. */
static void rnn(const real *x, const real *wi, const real *wh, const real *bi, const real *bh, real *y, real *a,
                real *b, real *h, int places, int in, int step, int hidden, int row, int relu, const real *h0)
{
    for (int i = 0; i < hidden; i++) h[i] = h0 ? h0[i] : 0;
    for (int t = 0; t < places; t++) {
        linear(x + (long)t * step, wi, bi, a, 1, in, hidden);
        linear(h, wh, bh, b, 1, hidden, hidden);
        for (int i = 0; i < hidden; i++) {
            real v = a[i] + b[i];
            h[i] = relu ? (v < 0 ? 0 : v) : tanh@(v);
        }
        memcpy(y + (long)t * row, h, hidden * sizeof *h);
    }
}
""",
    "lstm": """
/* c <- f c + i g, h <- o tanh(c) for each position, in the order of x + t step; h is written to y + t row. */
static void lstm(const real *x, const real *wi, const real *wh, const real *bi, const real *bh, real *y, real *a,
                 real *b, real *h, int places, int in, int step, int hidden, int row, const real *h0,
                 const real *c0, real *yc)
{
    real *c = h + hidden;
    for (int i = 0; i < hidden; i++) {
        h[i] = h0 ? h0[i] : 0;
        c[i] = c0 ? c0[i] : 0;
    }
    for (int t = 0; t < places; t++) {
        linear(x + (long)t * step, wi, bi, a, 1, in, 4 * hidden);
        linear(h, wh, bh, b, 1, hidden, 4 * hidden);
        for (int i = 0; i < 4 * hidden; i++) a[i] += b[i];
        for (int i = 0; i < hidden; i++) {
            c[i] = sigmoid(a[hidden + i]) * c[i] + sigmoid(a[i]) * tanh@(a[2 * hidden + i]);
            h[i] = sigmoid(a[3 * hidden + i]) * tanh@(c[i]);
        }
        memcpy(y + (long)t * row, h, hidden * sizeof *h);
        if (yc) memcpy(yc + (long)t * row, c, hidden * sizeof *c);
    }
}
""",
    "gru": """
/* h <- (1 - z) n + z h, with r and z sigmoids, n = tanh(x W + b + r (h W + b)), for each position, in the order of
   x + t step; h is written to y + t row. */
static void gru(const real *x, const real *wi, const real *wh, const real *bi, const real *bh, real *y, real *a,
                real *b, real *h, int places, int in, int step, int hidden, int row, const real *h0)
{
    for (int i = 0; i < hidden; i++) h[i] = h0 ? h0[i] : 0;
    for (int t = 0; t < places; t++) {
        linear(x + (long)t * step, wi, bi, a, 1, in, 3 * hidden);
        linear(h, wh, bh, b, 1, hidden, 3 * hidden);
        for (int i = 0; i < hidden; i++) {
            real r = sigmoid(a[i] + b[i]), z = sigmoid(a[hidden + i] + b[hidden + i]);
            real n = tanh@(a[2 * hidden + i] + r * b[2 * hidden + i]);
            h[i] = n + z * (h[i] - n);
        }
        memcpy(y + (long)t * row, h, hidden * sizeof *h);
    }
}
""",
}


def functions_used(body: str, suffix: str) -> str:
    """Return the functions that a body calls, with those that these call."""
    found: dict[str, str] = {}
    for name, text in reversed(_FUNCTIONS.items()):
        if re.search(rf"(?<!\w){name}\(", body + "".join(found.values())):
            found[name] = text.replace("@", suffix)
    return "".join(reversed(found.values()))
