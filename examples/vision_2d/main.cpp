// SPDX-License-Identifier: Apache-2.0
//
// Two cameras look at one scene, some patches apart. Queries and keys are made of the patches alone
// and turned by their row and column (AxialRoPE). Then the score of two patches depends on what
// they show and on the offset between them, not on where they stand: both cameras see the same
// scores. Sines added to the patches, the encoding of the first vision transformers, do not do
// that.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <grape/grape.hpp>
#include <iostream>
#include <random>
#include <vector>

namespace {

using grape::Index;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Color = Eigen::Array3f;

constexpr Index kPatch = 4;                             // pixels on a side
constexpr Index kPixel = 4, kSquare = kPatch * kPixel;  // drawn sizes of a pixel and a patch
constexpr Index kDim = 32;                              // of a query and a key
constexpr Index kDown = 1, kRight = 3;  // patches from the first camera to the second one

/// The scene, in pixels of the first camera: a house with a tree and the sun over hills.
Color scene(double x, double y) {
  const auto disc = [&](double cx, double cy, double r) { return std::hypot(x - cx, y - cy) < r; };
  if (x > 20 && x < 38 && y > 26 && y < 40) {
    return x > 26 && x < 31 && y > 32 ? Color(0.35F, 0.2F, 0.1F) : Color(0.85F, 0.7F, 0.5F);
  }
  if (y > 17 && y <= 26 && std::fabs(x - 29) < (y - 16) * 1.2) return {0.7F, 0.2F, 0.15F};
  if (disc(49, 25, 6)) return {0.1F, 0.45F, 0.2F};
  if (x > 48 && x < 51 && y > 25 && y < 41) return {0.4F, 0.25F, 0.1F};
  if (disc(10, 10, 5)) return {1.0F, 0.85F, 0.2F};
  if (y > 34 + 3 * std::sin(x / 9)) return {0.4F, 0.65F, 0.3F};
  return {0.55F, 0.75F, 0.95F};
}

/// One camera's picture as patches, [rows * cols, kPatch^2 * 3].
Matrix patches(Index side, Index down, Index right) {
  Matrix out(side * side, kPatch * kPatch * 3);
  for (Index p = 0; p < out.rows(); ++p) {
    for (Index i = 0; i < kPatch * kPatch; ++i) {
      const Index x = (p % side + right) * kPatch + i % kPatch;
      const Index y = (p / side + down) * kPatch + i / kPatch;
      out.block(p, 3 * i, 1, 3) =
          scene(static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5).matrix().transpose();
    }
  }
  return out;
}

/// What a model would have learned: some fixed projections of patches to queries and keys.
Matrix projection(unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, 0.15F);
  return Matrix::NullaryExpr(kPatch * kPatch * 3, kDim, [&] { return normal(engine); });
}

/// Scores of all pairs of patches, [queries, keys].
Matrix scores(const Matrix& picture, Index side, bool axial) {
  Matrix q = picture * projection(1), k = picture * projection(2);
  const grape::Spectrum axis = grape::spectrum::log_uniform(kDim / 2, 100.0);
  const auto both = grape::spectrum::concatenated({axis, axis});  // rows, then columns
  std::vector<std::int64_t> grid;
  for (Index p = 0; p < side * side; ++p) grid.push_back(p / side);
  for (Index p = 0; p < side * side; ++p) grid.push_back(p % side);
  const grape::AxialRoPE<float> rope(both,
                                     grape::AxialPath::sections({axis.planes(), axis.planes()}));
  const auto action = rope.at(grape::Positions::axes(grid, 2, 1, side * side));
  if (axial) {
    grape::apply_rotation(action, grape::matrix_view(q, 1), grape::matrix_view(k, 1));
  } else {
    for (Index p = 0; p < q.rows(); ++p) {  // the same cosines and sines, added
      for (Index m = 0; m < kDim / 2; ++m) {
        const auto g = action.element(0, p, 0, m);
        q.row(p).segment(2 * m, 2) += Eigen::RowVector2f(g.cos, g.sin);
        k.row(p).segment(2 * m, 2) += Eigen::RowVector2f(g.cos, g.sin);
      }
    }
  }
  return q * k.transpose() / std::sqrt(static_cast<float>(kDim));
}

void box(std::ostream& svg, Index x, Index y, Index width, Index height, const Color& c) {
  const Eigen::Array3i rgb = (255 * c.max(0.0F).min(1.0F)).cast<int>();
  svg << "<path d='M" << x << ' ' << y << 'h' << width << 'v' << height << 'h' << -width
      << "' fill='rgb(" << rgb[0] << ',' << rgb[1] << ',' << rgb[2] << ")'/>\n";
}

/// Runs of equal pixels of a row at once.
void draw(std::ostream& svg, const Matrix& picture, Index side, Index left, Index top) {
  const auto color = [&](Index x, Index y) -> Color {
    const Index i = y % kPatch * kPatch + x % kPatch;
    return picture.block(y / kPatch * side + x / kPatch, 3 * i, 1, 3).transpose().array();
  };
  for (Index y = 0; y < side * kPatch; ++y) {
    for (Index x = 0, end = 0; x < side * kPatch; x = end) {
      while (end < side * kPatch && (color(end, y) == color(x, y)).all()) ++end;
      box(svg, left + x * kPixel, top + y * kPixel, (end - x) * kPixel, kPixel, color(x, y));
    }
  }
}

}  // namespace

int main() {
  const Index side = std::getenv("GRAPE_SMOKE") != nullptr ? 8 : 14;  // patches
  const Index moved = kDown * side + kRight;
  const Index query = side / 2 * side + side / 2 + 1;  // of the first camera: the door
  const Matrix pictures[] = {patches(side, 0, 0), patches(side, kDown, kRight)};
  const char* const titles[] = {"one patch asks", "axial rotation", "added sines"};
  const Index gap = 14, size = side * kSquare + gap;
  std::ofstream svg("vision_2d.svg");
  svg << "<svg xmlns='http://www.w3.org/2000/svg' width='" << 3 * size << "' height='"
      << 2 * size + gap << "' font-family='sans-serif' font-size='12'>\n";
  std::cout
      << "Scores of pairs of patches seen by both cameras, " << kDown << " row and " << kRight
      << " columns apart.\nLargest difference between the cameras, over the scores' spread:\n";
  for (Index panel = 0; panel < 3; ++panel) {  // the picture, axial, sines
    svg << "<text x='" << panel * size << "' y='11'>" << titles[panel] << "</text>\n";
    Matrix z[] = {pictures[0], pictures[1]};
    if (panel > 0) {
      for (Matrix& m : z) m = scores(m, side, panel == 1);
      const float spread = std::sqrt((z[0].array() - z[0].mean()).square().mean());
      float worst = 0;
      const auto common = [&](Index p) { return p / side >= kDown && p % side >= kRight; };
      for (Index i = 0; i < side * side; ++i) {
        for (Index j = 0; j < side * side; ++j) {
          if (!common(i) || !common(j)) continue;
          worst = std::max(worst, std::fabs(z[0](i, j) - z[1](i - moved, j - moved)) / spread);
        }
      }
      std::cout << "  " << titles[panel] << ": " << worst << '\n';
      for (Matrix& m : z) m = (m.array() - m.mean()) / (2 * spread);
    }
    for (Index camera = 0; camera < 2; ++camera) {
      const Index top = gap + camera * size, left = panel * size, asking = query - camera * moved;
      if (panel == 0) draw(svg, z[camera], side, left, top);
      for (Index p = 0; panel > 0 && p < side * side; ++p) {  // blue to white to red
        const float v = std::clamp(z[camera](asking, p), -1.0F, 1.0F);
        box(svg, left + p % side * kSquare, top + p / side * kSquare, kSquare, kSquare,
            {1 + std::min(v, 0.0F), 1 - std::fabs(v), 1 - std::max(v, 0.0F)});
      }
      svg << "<rect x='" << left + asking % side * kSquare << "' y='"
          << top + asking / side * kSquare << "' width='" << kSquare << "' height='" << kSquare
          << "' fill='none' stroke='black' stroke-width='2'/>\n";
    }
  }
  svg << "</svg>\n";
  std::cout << "wrote vision_2d.svg: the map of scores moves with the scene, or it does not\n";
  return svg.good() ? 0 : 1;
}
