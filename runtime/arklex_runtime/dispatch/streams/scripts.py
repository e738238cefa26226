"""What is asked of Redis in one piece. Each script's KEYS and ARGV, and what it returns, are said above it."""

from __future__ import annotations

from dataclasses import dataclass

from arklex_runtime.dispatch.streams.link import Command


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; ``call`` sends all of it, since an emptied Redis forgets what was loaded and a script is small."""

    source: str

    def call(self, keys: list[str], *arguments: str | bytes | int) -> Command:
        """The command that runs it."""
        return ("EVAL", self.source, len(keys), *keys, *arguments)


LOOK = Script(
    """
local function last(key)
  if redis.call('EXISTS', key) == 0 then return false end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do if info[i] == 'last-generated-id' then return info[i + 1] end end
end
local delivered = false
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local name, id
    for i = 1, #group, 2 do
      if group[i] == 'name' then name = group[i + 1] end
      if group[i] == 'last-delivered-id' then id = group[i + 1] end
    end
    if name == ARGV[1] then delivered = id end
  end
end
local there = {}
for i = 2, #ARGV do
  there[i - 1] = #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i], 'COUNT', 1)
end
local result = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
return {redis.call('HGETALL', KEYS[2]), delivered, last(KEYS[1]), last(KEYS[3]), result and result[1] or false, there}
"""
)
"""KEYS jobs, pods, results; ARGV the group, then ids of entries.

Returns the heartbeats, the group's last delivered id (nil: no group), the last ids ever of jobs and of results (nil: no
stream), the last result that is there (nil: none), and for each entry 1 where it is there: all as of one moment.
"""

FIND = Script(
    """
local wanted, found = {}, {}
for i = 1, #ARGV do wanted[ARGV[i]] = i; found[i] = false end
local from = '-'
while true do
  local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 64)
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    for i = 1, #entry[2], 2 do
      local at = entry[2][i] == 'k' and wanted[entry[2][i + 1]]
      if at then found[at] = entry[1] end
    end
    from = '(' .. entry[1]
  end
end
return found
"""
)
"""KEYS jobs; ARGV identities (field ``k``). Returns for each the id of its entry, nil where it has none."""

TAKE = Script(
    """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local minute, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - 60000000))
local count = redis.call('ZCARD', KEYS[1])
local given, wait = 0, 0
local function at(rank)
  local found = redis.call('ZRANGE', KEYS[1], rank, rank, 'WITHSCORES')
  return tonumber(found[2])
end
while true do
  wait = 0
  if count >= minute then wait = at(count - minute) + 60000000 - now end
  if count >= burst then wait = math.max(wait, at(count - burst) + 1000000 - now) end
  if wait > 0 or given >= wanted then break end
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[4] .. ':' .. given)
  given, count = given + 1, count + 1
end
if count > 0 then redis.call('PEXPIRE', KEYS[1], 61000) end
return {given, string.format('%.0f', math.max(0, wait))}
"""
)
"""KEYS limits; ARGV calls in any 60 s, calls in any 1 s, calls wanted, a token that nobody else uses.

Returns how many calls were taken, and the microseconds until one more can be (0: now).
"""
