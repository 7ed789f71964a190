// Owns: the few declarations of libuv 1 we call, with opaque handles: node-api-headers brings no uv.h, and this way
// the binary does not depend on the layout of the libuv it was built with. http://docs.libuv.org/en/v1.x/poll.html

#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
struct uv_loop_s;
struct uv_handle_s;
struct uv_poll_s;
struct uv_async_s;
struct uv_timer_s;
typedef void (*uv_poll_cb)(uv_poll_s* handle, int status, int events);
typedef void (*uv_async_cb)(uv_async_s* handle);
typedef void (*uv_timer_cb)(uv_timer_s* handle);
typedef void (*uv_close_cb)(uv_handle_s* handle);

int uv_poll_init(uv_loop_s* loop, uv_poll_s* handle, int fd);
int uv_poll_start(uv_poll_s* handle, int events, uv_poll_cb callback);
int uv_poll_stop(uv_poll_s* handle);
int uv_async_init(uv_loop_s* loop, uv_async_s* handle, uv_async_cb callback);
int uv_async_send(uv_async_s* handle);
int uv_timer_init(uv_loop_s* loop, uv_timer_s* handle);
int uv_timer_start(uv_timer_s* handle, uv_timer_cb callback, uint64_t timeout, uint64_t repeat);
int uv_timer_stop(uv_timer_s* handle);
void uv_close(uv_handle_s* handle, uv_close_cb callback);
void uv_ref(uv_handle_s* handle);
void uv_unref(uv_handle_s* handle);
size_t uv_handle_size(int type);
void* uv_handle_get_data(const uv_handle_s* handle);
void uv_handle_set_data(uv_handle_s* handle, void* data);
int uv_translate_sys_error(int error);
char* uv_err_name_r(int error, char* buffer, size_t length);
}

constexpr int UV_ASYNC_HANDLE = 1, UV_POLL_HANDLE = 8, UV_TIMER_HANDLE = 13;  // enum uv_handle_type, fixed by libuv's ABI promise for 1.x
constexpr int UV_POLL_READABLE = 1, UV_POLL_WRITABLE = 2, UV_POLL_PRIORITIZED = 8;
