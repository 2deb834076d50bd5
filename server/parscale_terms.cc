#include "server/parscale_terms.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/request_error.h"

namespace braid::server {

std::optional<StreamMode> ParseStreamMode(absl::string_view name) {
  for (const StreamMode mode :
       {StreamMode::kOff, StreamMode::kAuto, StreamMode::kFixed}) {
    if (name == ToString(mode)) return mode;
  }
  return std::nullopt;
}

absl::StatusOr<ParscaleOffer> ParscaleOffer::Create(
    const std::vector<StreamSet>& sets, StreamMode mode, uint32_t most) {
  ParscaleOffer offer;
  offer.mode_ = mode;
  for (const StreamSet& set : sets) {
    for (uint32_t p = set.elastic ? 2 : set.streams; p <= set.streams; ++p) {
      if (most == 0 || p <= most) offer.choices_.push_back(p);
    }
  }
  std::ranges::sort(offer.choices_);
  const auto again = std::ranges::unique(offer.choices_);
  offer.choices_.erase(again.begin(), again.end());
  if (mode == StreamMode::kOff && sets.empty() && most > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--parscale-max ", most,
                     ": there are no PARSCALE weights; give --parscale FILE, "
                     "an adapter made for this model, or leave it out"));
  }
  if (mode != StreamMode::kOff && !offer.any()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--parscale-mode ", ToString(mode), ": ",
        sets.empty()
            ? "there are no PARSCALE weights; give --parscale FILE, an "
              "adapter made for this model"
            : "--parscale-max leaves one stream; raise it"));
  }
  return offer;
}

absl::StatusOr<StreamTerms> ParscaleOffer::Resolve(
    const ParscaleTerms& asked) const {
  const StreamMode mode = asked.mode.value_or(mode_);
  if (mode == StreamMode::kOff) {
    if (!asked.mode && (asked.min || asked.max)) {
      return InvalidField(
          "parscale.mode",
          "is missing: this server's default is 'off', which has no streams to "
          "count; give 'auto' or 'fixed'");
    }
    return StreamTerms{};
  }
  if (!any()) {
    return InvalidField(
        "parscale.mode",
        absl::StrCat("'", ToString(mode),
                     "' needs PARSCALE weights, and this server has none: "
                     "start it with --parscale FILE, an adapter made for its "
                     "model, or ask for 'off'"));
  }
  StreamTerms terms{mode, asked.min.value_or(1), asked.max.value_or(most())};
  if (terms.max < 1 || terms.max > most()) {
    return InvalidField(
        "parscale.max",
        absl::StrCat("must be between 1 and ", most(), ", not ", terms.max,
                     ": this server has no more streams"));
  }
  if (terms.min < 1 || terms.min > terms.max) {
    return InvalidField("parscale.min",
                        absl::StrCat("must be between 1 and parscale.max, ",
                                     terms.max, ", not ", terms.min));
  }
  const bool exact = mode == StreamMode::kFixed;
  const auto choice =
      std::ranges::lower_bound(choices_, exact ? terms.max : terms.min);
  if (choice == choices_.end() || *choice > terms.max) {
    const std::string asked_for =
        exact ? absl::StrCat(terms.max)
              : absl::StrCat("any number from ", terms.min, " to ", terms.max);
    return InvalidField("parscale.max",
                        absl::StrCat("there are weights for ", ChoicesText(),
                                     " streams, not for ", asked_for));
  }
  if (terms.max == 1) return StreamTerms{};
  return terms;
}

std::string ParscaleOffer::ChoicesText() const {
  std::string text;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const bool last = i + 1 == choices_.size();
    absl::StrAppend(&text, i == 0 ? "" : last ? " or " : ", ", choices_[i]);
  }
  return text;
}

}  // namespace braid::server
