#include "server/http/cors.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace braid::server {
namespace {

HttpRequest From(std::string origin, std::string method = "GET") {
  HttpRequest request;
  request.method = std::move(method);
  request.headers = {{"Origin", std::move(origin)}};
  return request;
}

std::string Value(const HttpHeaders& headers, const std::string& name) {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return "";
}

std::string AllowedFor(const CorsPolicy& policy, const std::string& origin) {
  return Value(policy.HeadersFor(From(origin)), "Access-Control-Allow-Origin");
}

CorsPolicy Policy(std::vector<std::string> origins) {
  auto policy = CorsPolicy::Create(std::move(origins));
  EXPECT_TRUE(policy.ok()) << policy.status();
  return *policy;
}

TEST(CorsTest, PagesOfThisMachineMayByThemselves) {
  const CorsPolicy policy;
  for (const char* local :
       {"http://localhost", "http://localhost:5173", "https://127.0.0.1:8443",
        "http://[::1]:3000", "http://app.localhost:80"}) {
    EXPECT_EQ(AllowedFor(policy, local), local);
  }
  for (const char* other :
       {"https://example.org", "http://localhost.example.org", "null",
        "http://notlocalhost", "file://localhost", "http://127.0.0.1.nip.io",
        "http://[::1", "http://192.168.1.5:8000", "localhost:5173"}) {
    EXPECT_EQ(AllowedFor(policy, other), "") << other;
    EXPECT_EQ(Value(policy.HeadersFor(From(other)), "Vary"), "Origin");
  }
  EXPECT_TRUE(policy.HeadersFor(HttpRequest()).empty());
}

TEST(CorsTest, OthersByName) {
  const CorsPolicy policy = Policy({"https://a.example", "http://b:81"});
  EXPECT_EQ(AllowedFor(policy, "https://a.example"), "https://a.example");
  EXPECT_EQ(AllowedFor(policy, "http://b:81"), "http://b:81");
  EXPECT_EQ(AllowedFor(policy, "http://localhost:1"), "http://localhost:1");
  EXPECT_EQ(AllowedFor(policy, "http://a.example"), "");
  EXPECT_EQ(AllowedFor(policy, "http://b"), "");
  EXPECT_EQ(AllowedFor(Policy({"*"}), "https://any.example"), "*");
  EXPECT_EQ(AllowedFor(Policy({"none"}), "http://localhost"), "");
}

TEST(CorsTest, WhatNoBrowserSendsIsRefused) {
  for (const char* bad :
       {"", "a.example", "https://", "://a", "https://a.example/",
        "https://a.example/chat", "https://*.example", "HTTPS://a.example",
        "https://user@a", "https://a b"}) {
    EXPECT_FALSE(CorsPolicy::Create({bad}).ok()) << bad;
  }
  EXPECT_FALSE(CorsPolicy::Create({"none", "https://a.example"}).ok());
}

TEST(CorsTest, Preflight) {
  const CorsPolicy policy;
  HttpRequest asks = From("http://localhost:5173", "OPTIONS");
  EXPECT_FALSE(policy.Preflight(asks)) << "OPTIONS of somebody else";
  asks.headers.emplace_back("Access-Control-Request-Method", "POST");
  asks.headers.emplace_back("Access-Control-Request-Headers",
                            "authorization,content-type,x-stainless-os");
  const auto allowed = policy.Preflight(asks);
  ASSERT_TRUE(allowed);
  EXPECT_EQ(allowed->status, 200);
  EXPECT_EQ(Value(allowed->headers, "Access-Control-Allow-Methods"),
            "GET, HEAD, POST");
  EXPECT_EQ(Value(allowed->headers, "Access-Control-Allow-Headers"),
            "authorization,content-type,x-stainless-os");
  asks.headers[0].second = "https://example.org";
  const auto refused = policy.Preflight(asks);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 403);
  EXPECT_NE(refused->body.find("--allowed-origin https://example.org"),
            std::string::npos);
  asks.method = "POST";
  EXPECT_FALSE(policy.Preflight(asks));
}

}  // namespace
}  // namespace braid::server
