module trysail.test/pause

go 1.26
