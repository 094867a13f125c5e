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
#include <fstream>
#include <grape/grape.hpp>
#include <iostream>
#include <random>
#include <vector>

#include "scene.hpp"

namespace {

using grape::Index;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr Index kSide = 14;                             // patches on a side of a picture
constexpr Index kPatch = 4;                             // pixels on a side of a patch
constexpr Index kPixel = 4, kSquare = kPatch * kPixel;  // drawn sizes of a pixel and a patch
constexpr Index kDim = 32;                              // of a query and a key
constexpr Index kDown = 1, kRight = 3;  // patches from the first camera to the second one
constexpr Index kMoved = kDown * kSide + kRight;

/// One camera's picture as patches, [kSide^2, kPatch^2 * 3].
Matrix patches(Index down, Index right) {
  Matrix out(kSide * kSide, kPatch * kPatch * 3);
  for (Index p = 0; p < out.rows(); ++p) {
    for (Index i = 0; i < kPatch * kPatch; ++i) {
      const Index x = (p % kSide + right) * kPatch + i % kPatch;
      const Index y = (p / kSide + down) * kPatch + i / kPatch;
      out.block(p, 3 * i, 1, 3) = scene(x, y).matrix().transpose();
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
Matrix scores(const Matrix& picture, bool axial) {
  Matrix q = picture * projection(1), k = picture * projection(2);
  const grape::Spectrum axis = grape::spectrum::log_uniform(kDim / 2, 100.0);
  const auto both = grape::spectrum::concatenated({axis, axis});  // rows, then columns
  std::vector<std::int64_t> grid;
  for (Index p = 0; p < q.rows(); ++p) grid.push_back(p / kSide);
  for (Index p = 0; p < q.rows(); ++p) grid.push_back(p % kSide);
  const grape::AxialRoPE<float> rope(both,
                                     grape::AxialPath::sections({axis.planes(), axis.planes()}));
  const auto action = rope.at(grape::Positions::axes(grid, 2, 1, q.rows()));
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

void square(std::ostream& svg, Index x, Index y, Index size, const Color& c) {
  const Eigen::Array3i rgb = (255 * c.max(0.0F).min(1.0F)).cast<int>();
  svg << "<path d='M" << x << ' ' << y << 'h' << size << 'v' << size << 'h' << -size
      << "' fill='rgb(" << rgb[0] << ',' << rgb[1] << ',' << rgb[2] << ")'/>\n";
}

void draw_picture(std::ostream& svg, Index down, Index right, Index left, Index top) {
  for (Index y = 0; y < kSide * kPatch; ++y) {
    for (Index x = 0; x < kSide * kPatch; ++x) {
      square(svg, left + x * kPixel, top + y * kPixel, kPixel,
             scene(x + right * kPatch, y + down * kPatch));
    }
  }
}

/// The scores of one query: blue to white to red, from -2 spreads to 2.
void draw_scores(std::ostream& svg, const Eigen::ArrayXf& z, Index left, Index top) {
  for (Index p = 0; p < z.size(); ++p) {
    const float v = std::clamp(z[p] / 2, -1.0F, 1.0F);
    square(svg, left + p % kSide * kSquare, top + p / kSide * kSquare, kSquare,
           {1 + std::min(v, 0.0F), 1 - std::fabs(v), 1 - std::max(v, 0.0F)});
  }
}

/// The largest difference of a pair's scores, over the pairs that both cameras see.
float difference(const Matrix& first, const Matrix& second) {
  std::vector<Index> here, there;
  for (Index p = 0; p < first.rows(); ++p) {
    if (p / kSide < kDown || p % kSide < kRight) continue;
    here.push_back(p);
    there.push_back(p - kMoved);
  }
  return (first(here, here) - second(there, there)).cwiseAbs().maxCoeff();
}

}  // namespace

int main() {
  const Matrix pictures[] = {patches(0, 0), patches(kDown, kRight)};
  const char* const titles[] = {"one patch asks", "axial rotation", "added sines"};
  const Index query = kSide / 2 * kSide + kSide / 2 + 1;  // of the first camera: on the house
  const Index gap = 14, size = kSide * kSquare + gap;
  std::ofstream svg("vision_2d.svg");
  svg << "<svg xmlns='http://www.w3.org/2000/svg' width='" << 3 * size + gap << "' height='"
      << 2 * size + gap << "' font-family='sans-serif' font-size='12'>\n"
      << "<rect width='100%' height='100%' fill='white'/>\n";
  std::cout
      << "Scores of pairs of patches seen by both cameras, " << kDown << " row and " << kRight
      << " columns apart.\nLargest difference between the cameras, over the scores' spread:\n";
  for (Index panel = 0; panel < 3; ++panel) {  // the picture, axial, sines
    const Index left = gap + panel * size;
    svg << "<text x='" << left << "' y='11'>" << titles[panel] << "</text>\n";
    Matrix z[] = {scores(pictures[0], panel == 1), scores(pictures[1], panel == 1)};
    const float mean = z[0].mean();
    const float spread = std::sqrt((z[0].array() - mean).square().mean());
    const float apart = difference(z[0], z[1]) / spread;
    if (panel > 0) std::cout << "  " << titles[panel] << ": " << apart << '\n';
    for (Index camera = 0; camera < 2; ++camera) {
      const Index top = gap + camera * size, asking = query - camera * kMoved;
      if (panel == 0) {
        draw_picture(svg, camera * kDown, camera * kRight, left, top);
      } else {
        draw_scores(svg, (z[camera].row(asking).transpose().array() - mean) / spread, left, top);
      }
      svg << "<rect x='" << left + asking % kSide * kSquare << "' y='"
          << top + asking / kSide * kSquare << "' width='" << kSquare << "' height='" << kSquare
          << "' fill='none' stroke='black' stroke-width='2'/>\n";
    }
  }
  svg << "</svg>\n";
  std::cout << "wrote vision_2d.svg: the map of scores moves with the scene, or it does not\n";
  return svg.good() ? 0 : 1;
}
