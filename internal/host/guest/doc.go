// Package guest is the inside of a virtual machine as its host reaches it: the
// seed volume that the guest reads at first boot, and the guest agent that
// answers afterwards. It decides nothing; it knows formats and protocols.
//
// What comes out of a guest is hostile: every answer is bounded in size and in
// time.
package guest
