// Package historybus connects the [history.Log] of the servers of a cluster that share one store, over
// the [adapter.Exchange] of the cluster:
//
//	bus := historybus.New(cluster, drivers)      // an *adapter.Native, and the adapter.Bus that it uses
//	log := history.NewLog(store, &history.LogOptions{Bus: bus})
//
// A server hears the rooms that somebody here has open, each as a subject of its own ("h/" and the
// room). A stored message crosses as a whole if it is small, else as a hint with its number: the other
// servers then read it from the store, as they do with messages that were lost.
package historybus
