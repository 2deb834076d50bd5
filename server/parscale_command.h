// `braid parscale`: looks at the streams of a model without serving it. One
// command, several modes, each in a file of its own; this one only tells which
// mode the arguments mean.
#pragma once

#include <string>
#include <vector>

namespace braid::server {

// Returns the process's exit status: 0, or 2 when the arguments make no sense
// or a file is not what it has to be.
int RunParscale(const std::vector<std::string>& args);

// inspect FILE: what is in an adapter file or a Qwen2ParScale folder
// (parscale_inspect.cc).
int InspectParscale(const std::vector<std::string>& args);

// eval: how well a text is predicted, by number of streams and position
// (parscale_eval_command.cc).
int EvaluateParscale(const std::vector<std::string>& args);

}  // namespace braid::server
