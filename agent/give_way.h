// agent/give_way.h - which threads go first where all want the CPUs.
#pragma once

namespace dgq::agent {

// The calling thread, and those that it starts from here on, take every CPU there is for long: others, which take requests and send
// tokens, of this process or of clients, shall not wait for the end of a time slice when they wake. Does nothing for a thread that is
// not scheduled as usual (SCHED_OTHER), and less on Linux before 6.12.
void give_way();

}  // namespace dgq::agent
