// The sensor as an EnTT user writes it: an owning group of two components, one pass a tick.
// Built by entt_tick.py; plain C functions, because ctypes calls them.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <entt/entt.hpp>

namespace {

constexpr std::size_t block = 1000;
constexpr float mu = 0.3f, phi = 0.95f, noise = 0.1082f;

struct Valor {
    float x;
};
struct Random {
    std::uint32_t state;
};
struct Message {
    std::uint32_t id;
    float valor;
};

struct World {
    entt::registry registry;
    std::vector<float> umbral;
    std::vector<double> sum, squares, shift;
    std::vector<std::uint32_t> errors;
    std::vector<Message> messages;
    std::size_t n;
};

float uniform(Random &random) {
    auto s = random.state;  // xorshift32, Marsaglia 2003
    s ^= s << 13;
    s ^= s >> 17;
    s ^= s << 5;
    random.state = s;
    return static_cast<float>(s >> 8) * 0x1p-24f;
}

template <typename Draw>
std::uint64_t tick(World &world, Draw draw) {
    world.messages.clear();
    std::fill(world.sum.begin(), world.sum.end(), 0.0);
    std::fill(world.squares.begin(), world.squares.end(), 0.0);
    std::fill(world.errors.begin(), world.errors.end(), 0u);
    for (auto [entity, valor, random] : world.registry.group<Valor, Random>().each()) {
        const auto id = static_cast<std::uint32_t>(entt::to_integral(entity));
        const auto k = id / block;
        const float x = mu + phi * (valor.x - mu) + noise * (draw(id, random) - 0.5f);
        if (!std::isfinite(x)) {
            ++world.errors[k];
            continue;
        }
        valor.x = x;
        const double d = static_cast<double>(x) - world.shift[k];
        world.sum[k] += d;
        world.squares[k] += d * d;
        if (x > world.umbral[k]) world.messages.push_back({id, x});
    }
    for (std::size_t k = 0; k < world.umbral.size(); ++k) {
        const double good = block - world.errors[k];
        const double mean = good > 0 ? world.sum[k] / good : 0.0;
        const double variance =
            good > 1 ? std::max(0.0, (world.squares[k] - good * mean * mean) / (good - 1)) : 0.0;
        const double raw = 0.5 + 0.3 * std::sqrt(variance) + 0.2 * world.errors[k] / block;
        world.umbral[k] = static_cast<float>(std::clamp(raw, 0.1, 0.9));
        world.shift[k] += mean;
    }
    return world.messages.size();
}

}  // namespace

extern "C" {

World *entt_create(std::size_t n, const float *initial, float umbral) {
    auto *world = new World{};
    const std::size_t blocks = n / block;
    world->n = n;
    world->umbral.assign(blocks, umbral);
    world->sum.assign(blocks, 0.0);
    world->squares.assign(blocks, 0.0);
    world->shift.assign(blocks, 0.0);
    world->errors.assign(blocks, 0);
    (void)world->registry.group<Valor, Random>();
    for (std::size_t i = 0; i < n; ++i) {
        const auto entity = world->registry.create();
        world->registry.emplace<Valor>(entity, initial[i]);
        world->registry.emplace<Random>(entity, static_cast<std::uint32_t>(2654435761u * (i + 1)) | 1u);
    }
    return world;
}

std::uint64_t entt_tick(World *world, const float *uniforms) {
    if (uniforms != nullptr)
        return tick(*world, [uniforms](std::uint32_t id, Random &) { return uniforms[id]; });
    return tick(*world, [](std::uint32_t, Random &random) { return uniform(random); });
}

void entt_values(World *world, float *out) {
    for (auto [entity, valor] : world->registry.view<Valor>().each())
        out[entt::to_integral(entity)] = valor.x;
}

void entt_destroy(World *world) { delete world; }
}
